//! Why a producer is given up after an outcome that is not known: the loop that everybody writes
//! with librdkafka keeps it, and under the protocol that librdkafka speaks a late request to end a
//! transaction ends the next one.
//!
//! Here it is brought about, with a real broker and a proxy: half of a transaction becomes visible,
//! and stays so although the transaction is aborted. Headwater under the same fault is in
//! `tests/kafka_faults_on_the_wire.rs`.

mod support;

use std::time::Duration;

use headwater_kafka::{KafkaConfig, KafkaTransport};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use testkit::kafka_proxy::{KafkaProxy, Wire, api};

use support::{create, unique};

const PATIENT: Duration = Duration::from_secs(20);

fn send(producer: &BaseProducer, topic: &str, text: &str) {
    let record = BaseRecord::<(), str>::to(topic).payload(text).partition(0);
    producer.send(record).map_err(|(error, _)| error).expect("sent");
    producer.flush(PATIENT).expect("delivered");
}

/// What a reader of committed records sees.
fn visible(broker: &str, topic: &str) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", &*unique("reader"))
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).expect("added");
    consumer.assign(&partitions).expect("assigned");
    let mut texts = Vec::new();
    let mut silent = 0;
    while silent < 20 {
        match consumer.poll(Duration::from_millis(250)) {
            Some(message) => {
                let message = message.expect("a message");
                let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
                texts.push(text.into_owned());
            }
            None => silent += 1,
        }
    }
    texts
}

#[test]
fn a_late_end_of_a_transaction_ends_the_next_one() {
    let Ok(broker) = std::env::var("HEADWATER_KAFKA") else {
        println!("skipped: HEADWATER_KAFKA names no broker");
        return;
    };
    let topic = unique("torn");
    let transport = KafkaTransport::new(KafkaConfig::new(&broker).expect("host:port"));
    create(&transport, &topic, &[]);
    let proxy = KafkaProxy::start(&broker).expect("a proxy");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", proxy.address().to_string())
        .set("transactional.id", &*topic)
        .set("socket.timeout.ms", "2000")
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENT).expect("initialised");
    producer.begin_transaction().expect("begun");
    send(&producer, &topic, "one");
    // The request to commit is under way for long; librdkafka sends it again, and that one arrives.
    proxy.next(api::END_TXN, Wire::Held);
    producer.commit_transaction(PATIENT).expect("committed by the second request");
    assert_eq!(proxy.fired(api::END_TXN, Wire::Held), 1);

    producer.begin_transaction().expect("begun");
    send(&producer, &topic, "half of two");
    assert_eq!(visible(&broker, &topic), ["one"], "as it should be");
    assert_eq!(proxy.release(), 1);
    std::thread::sleep(Duration::from_secs(1));
    // The other half is never written: the program finds a reason to abort.
    let _ = producer.abort_transaction(PATIENT);
    let seen = visible(&broker, &topic);
    assert_eq!(seen, ["one", "half of two"], "the aborted half is visible: that is the tear");
}
