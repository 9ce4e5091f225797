import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Producers that commit and abort in turn, each record saying what was asked for, while somebody
 * else kills the broker. At a line of standard input they end, and a read_committed consumer looks
 * at what there is. Kafka's own client only.
 */
public class SkippedMarkers {
    static final String TOPIC = "transactions";
    static final int PARTITIONS = 4;
    static final int PRODUCERS = 40;

    static final Set<String> committed = ConcurrentHashMap.newKeySet();
    static final Set<String> neverCommitted = ConcurrentHashMap.newKeySet();
    static volatile boolean isOver = false;

    final Properties client = new Properties();

    SkippedMarkers(String bootstrap) {
        client.put("bootstrap.servers", bootstrap);
        client.put("reconnect.backoff.ms", "20");
        client.put("reconnect.backoff.max.ms", "100");
        client.put("retry.backoff.ms", "20");
        client.put("retry.backoff.max.ms", "100");
    }

    public static void main(String[] arguments) throws Exception {
        var program = new SkippedMarkers(arguments[0]);
        try (var admin = Admin.create(program.client)) {
            admin.createTopics(List.of(new NewTopic(TOPIC, PARTITIONS, (short) 1))).all().get();
        }
        var threads = IntStream.range(0, PRODUCERS)
            .mapToObj(number -> new Thread(() -> program.produce("producer-" + number))).toList();
        threads.forEach(Thread::start);
        System.in.read();
        isOver = true;
        for (var thread : threads) thread.join();
        program.look();
    }

    void produce(String id) {
        var config = new Properties();
        config.putAll(client);
        config.put("transactional.id", id);
        config.put("linger.ms", "0");
        config.put("buffer.memory", "1048576");
        for (int number = 0; !isOver;) {
            var text = new StringSerializer();
            try (var producer = new KafkaProducer<String, String>(config, text, text)) {
                producer.initTransactions();
                while (!isOver) transaction(producer, id + " transaction " + ++number, number % 2 == 0);
            } catch (Exception error) {
                System.out.println(id + ": " + error);
            }
        }
    }

    static void transaction(KafkaProducer<String, String> producer, String name, boolean aborts)
            throws Exception {
        if (aborts) neverCommitted.add(name);
        producer.beginTransaction();
        var sent = IntStream.range(0, PARTITIONS)
            .mapToObj(n -> producer.send(new ProducerRecord<>(TOPIC, n, null, name))).toList();
        for (var one : sent) one.get();
        if (aborts) {
            producer.abortTransaction();
        } else {
            producer.commitTransaction();
            // From here on Kafka has said that it is committed.
            committed.add(name);
        }
    }

    void look() {
        var visible = read();
        var exposed = neverCommitted.stream().filter(visible::containsKey).toList();
        exposed.forEach(name -> System.out.println(
            "visible, and only ever aborted: " + name + " at " + visible.get(name)));
        var lost = committed.stream()
            .filter(name -> visible.getOrDefault(name, List.of()).size() < PARTITIONS).toList();
        lost.forEach(name -> System.out.println("confirmed, and of its " + PARTITIONS
            + " records are visible: " + name + " at " + visible.get(name)));
        System.out.println(committed.size() + " commits confirmed, of which " + lost.size()
            + " are lost; " + neverCommitted.size() + " aborts, of which "
            + exposed.size() + " are visible");
    }

    /** What a read_committed consumer gets, by partition and offset. */
    Map<String, List<String>> read() {
        var config = new Properties();
        config.putAll(client);
        config.put("isolation.level", "read_committed");
        var visible = new HashMap<String, List<String>>();
        var text = new StringDeserializer();
        try (var consumer = new KafkaConsumer<String, String>(config, text, text)) {
            var partitions = new ArrayList<TopicPartition>();
            for (int n = 0; n < PARTITIONS; n++) partitions.add(new TopicPartition(TOPIC, n));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    visible.computeIfAbsent(record.value(), name -> new ArrayList<>())
                        .add(record.partition() + ":" + record.offset());
                }
            }
        }
        return visible;
    }
}
