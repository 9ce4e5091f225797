import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/** The race's jobs in the DSL of Kafka Streams, with JSON by Jackson's data binding. */
public class Main {
    public static final class Order {
        public String order_id, customer_id, category, timestamp;
        public double amount;
    }

    public static final class Shipment {
        public String shipment_id, order_id, customer_id, status, created_at;
    }

    public static final class Total {
        public long count;
        public double revenue;
    }

    public static final class Sales {
        public String category;
        public long window_start, window_end, count;
        public double revenue;
    }

    public static final class Customer {
        public String customer_id, tier;
        public int version;
    }

    /** An order with what is known of its customer. */
    public static final class Enriched {
        public String order_id, customer_id, category, tier;
        public double amount;
        public Integer version;
    }

    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Serde<String> TEXT = Serdes.String();

    public static void main(String[] arguments) throws InterruptedException {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        var builder = new StreamsBuilder();
        describe(env("JOB", "J1"), builder, env("OUTPUT", "out"));
        var streams = new KafkaStreams(builder.build(), properties());
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        // The default, to stay in the group, makes the next start wait for the old member's
        // session timeout, 45 s.
        var leave = CloseOptions
            .groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP)
            .withTimeout(Duration.ofSeconds(8));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(leave)));
        streams.start();
        Thread.currentThread().join();
    }

    private static void describe(String job, StreamsBuilder builder, String output) {
        var orders = builder.stream(env("INPUT", "orders"), Consumed.with(TEXT, json(Order.class)));
        switch (job) {
            case "J1" -> orders
                .filter((key, order) -> order.amount >= 1.0)
                .mapValues(Main::shipment)
                .to(output, Produced.with(TEXT, json(Shipment.class)));
            case "J2" -> count(orders.groupByKey(), output);
            case "J3" -> salesPerMinute(orders, output);
            case "J4" -> count(
                orders.groupBy(
                    (key, order) -> order.customer_id,
                    Grouped.with(TEXT, json(Order.class))),
                output);
            case "J7" -> {
                var customers = builder.table(
                    env("TABLE", "customers"),
                    Consumed.with(TEXT, json(Customer.class)),
                    Materialized.<String, Customer, KeyValueStore<Bytes, byte[]>>as("customers")
                        .withKeySerde(TEXT)
                        .withValueSerde(json(Customer.class)));
                orders
                    .leftJoin(customers, Main::enriched)
                    .to(output, Produced.with(TEXT, json(Enriched.class)));
            }
            default -> throw new IllegalArgumentException("no job " + job);
        }
    }

    private static Shipment shipment(Order order) {
        var shipment = new Shipment();
        shipment.shipment_id = "ship-" + order.order_id;
        shipment.order_id = order.order_id;
        shipment.customer_id = order.customer_id;
        shipment.status = "pending";
        shipment.created_at = order.timestamp;
        return shipment;
    }

    private static Enriched enriched(Order order, Customer customer) {
        var enriched = new Enriched();
        enriched.order_id = order.order_id;
        enriched.customer_id = order.customer_id;
        enriched.category = order.category;
        enriched.amount = order.amount;
        if (customer != null) {
            enriched.tier = customer.tier;
            enriched.version = customer.version;
        }
        return enriched;
    }

    private static void count(KGroupedStream<String, Order> grouped, String output) {
        grouped
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts")
                .withKeySerde(TEXT)
                .withValueSerde(Serdes.Long()))
            .toStream()
            .to(output, Produced.with(TEXT, decimal()));
    }

    private static void salesPerMinute(KStream<String, Order> orders, String output) {
        var minutes = TimeWindows.ofSizeAndGrace(Duration.ofSeconds(60), Duration.ofSeconds(10));
        orders
            .groupByKey()
            .windowedBy(minutes)
            .aggregate(
                Total::new,
                (key, order, total) -> {
                    total.count++;
                    total.revenue += order.amount;
                    return total;
                },
                Materialized.<String, Total, WindowStore<Bytes, byte[]>>as("sales")
                    .withKeySerde(TEXT)
                    .withValueSerde(json(Total.class)))
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
            .toStream()
            .map((window, total) -> KeyValue.pair(window.key(), sales(window, total)))
            .to(output, Produced.with(TEXT, json(Sales.class)));
    }

    private static Sales sales(Windowed<String> window, Total total) {
        var sales = new Sales();
        sales.category = window.key();
        sales.window_start = window.window().start();
        sales.window_end = window.window().end();
        sales.count = total.count;
        sales.revenue = total.revenue;
        return sales;
    }

    private static Properties properties() {
        boolean exactlyOnce = env("GUARANTEE", "eos").equals("eos");
        var p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, env("APP_ID", "kafka-streams"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("BOOTSTRAP", "127.0.0.1:9092"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, env("STATE_DIR", "state"));
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, env("THREADS", "1"));
        p.put(
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
            exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        p.put(
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG,
            env("COMMIT_MS", exactlyOnce ? "100" : "1000"));
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        if (!env("CACHE_BYTES", "").isEmpty()) {
            p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, env("CACHE_BYTES", ""));
        }
        producer(p, ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        producer(p, ProducerConfig.LINGER_MS_CONFIG, env("LINGER_MS", "100"));
        producer(p, ProducerConfig.BATCH_SIZE_CONFIG, "131072");
        producer(p, ProducerConfig.BUFFER_MEMORY_CONFIG, "134217728");
        consumer(p, ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "5000");
        consumer(p, ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, "4194304");
        consumer(p, ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return p;
    }

    private static void producer(Properties properties, String name, String value) {
        properties.put(StreamsConfig.producerPrefix(name), value);
    }

    private static void consumer(Properties properties, String name, String value) {
        properties.put(StreamsConfig.consumerPrefix(name), value);
    }

    private static <T> Serde<T> json(Class<T> type) {
        var reader = MAPPER.readerFor(type);
        var writer = MAPPER.writerFor(type);
        Serializer<T> serializer = (topic, value) -> {
            try {
                return value == null ? null : writer.writeValueAsBytes(value);
            } catch (java.io.IOException error) {
                throw new SerializationException(error);
            }
        };
        Deserializer<T> deserializer = (topic, bytes) -> {
            try {
                return bytes == null ? null : reader.readValue(bytes);
            } catch (java.io.IOException error) {
                throw new SerializationException(error);
            }
        };
        return Serdes.serdeFrom(serializer, deserializer);
    }

    private static Serde<Long> decimal() {
        var ascii = StandardCharsets.US_ASCII;
        Serializer<Long> serializer =
            (topic, value) -> value == null ? null : value.toString().getBytes(ascii);
        Deserializer<Long> deserializer =
            (topic, bytes) -> bytes == null ? null : Long.valueOf(new String(bytes, ascii));
        return Serdes.serdeFrom(serializer, deserializer);
    }

    private static String env(String name, String otherwise) {
        var value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
