//! A topic that is made a moment later is waited for by producers and readers; one that
//! is not made is an error that says so.
//!
//! Runs where `HEADWATER_KAFKA=host:port` names a broker, as `./dev test` does; passes without
//! having run elsewhere.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use headwater_kafka::{KafkaConfig, KafkaTransport};
use runtime::Transactions;
use runtime::transport::{ErrorKind, Outgoing, Producer, ProducerConfig, ReaderConfig, Transport};
use streams_core::TopicPartition;

use support::{create, unique};

const PATIENT: Duration = Duration::from_secs(20);
const LATE: Duration = Duration::from_millis(1_500);

fn transport() -> Option<KafkaTransport> {
    let broker = std::env::var("HEADWATER_KAFKA").ok()?;
    let config = KafkaConfig::new(&broker).expect("host:port");
    Some(KafkaTransport::new(config.with_transactions(Transactions::V2)))
}

/// Makes a topic, but not at once.
fn make_late(transport: &KafkaTransport, name: &Arc<str>) -> thread::JoinHandle<()> {
    let (transport, name) = (transport.clone(), Arc::clone(name));
    thread::spawn(move || {
        thread::sleep(LATE);
        create(&transport, &name, &[]);
    })
}

fn producer(transport: &KafkaTransport, id: &Arc<str>) -> Box<dyn Producer> {
    let mut producer = transport
        .producer(&ProducerConfig {
            transactional_id: Some(Arc::clone(id)),
            transaction_timeout: PATIENT,
            buffer_bytes_max: 1 << 20,
        })
        .expect("a producer");
    producer.init(PATIENT).expect("initialized");
    producer.begin().expect("begun");
    producer
}

fn record(topic: &Arc<str>) -> Outgoing<'_> {
    let value = Some(&b"v"[..]);
    Outgoing { topic, partition: Some(0), key: None, value, timestamp: 0, headers: None }
}

#[test]
fn who_writes_waits_for_a_topic() {
    let Some(transport) = transport() else { return };
    let topic = unique("late");
    let mut producer = producer(&transport, &topic);
    let making = make_late(&transport, &topic);
    producer.send(&record(&topic)).expect("made in time");
    producer.commit(PATIENT).expect("committed");
    making.join().expect("made");
}

#[test]
fn who_writes_is_told_that_there_is_no_topic() {
    let Some(transport) = transport() else { return };
    let topic = unique("never");
    let error = producer(&transport, &topic).send(&record(&topic)).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains(&*topic), "{error}");
}

#[test]
fn who_reads_waits_for_a_topic() {
    let Some(transport) = transport() else { return };
    let topic = unique("late-read");
    let mut reader = transport.reader(&ReaderConfig::new(true)).expect("a reader");
    let partition = TopicPartition::new(Arc::clone(&topic), 0);
    let error = reader.bounds(&partition, LATE / 3).expect_err("not there yet");
    assert_eq!(error.kind(), ErrorKind::Retriable, "who cannot wait asks again: {error}");
    let making = make_late(&transport, &topic);
    assert_eq!(reader.bounds(&partition, PATIENT).expect("made in time"), (0, 0));
    making.join().expect("made");
    let never = TopicPartition::new(unique("never-read"), 0);
    let error = reader.bounds(&never, PATIENT).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
