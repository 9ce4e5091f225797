//! A reopened log knows its topics, and never gives a producer id to two producers.
#![allow(clippy::unwrap_used)]

mod ledger;

use std::time::Duration;

use headwater_embedded::EmbeddedLog;
use runtime::transport::{NewTopic, Producer, ProducerConfig, ReaderConfig, Transport};
use streams_core::TopicPartition;

const NOW: Duration = Duration::ZERO;

fn producer(log: &EmbeddedLog, id: &str) -> Box<dyn Producer> {
    let config = ProducerConfig {
        transactional_id: Some(id.into()),
        transaction_timeout: Duration::from_secs(60),
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = log.producer(&config).unwrap();
    producer.init(NOW).unwrap();
    producer
}

fn begin_with(producer: &mut dyn Producer, text: &str) {
    producer.begin().unwrap();
    ledger::support::send(producer, "t", text.as_bytes(), 1);
    producer.flush(NOW).unwrap();
}

#[test]
fn producer_ids_are_not_given_twice() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(directory.path()).unwrap();
    let name = "t".into();
    let topic = NewTopic { name, partitions: 1, replication: None, config: vec![] };
    log.admin().unwrap().create(&topic, NOW).unwrap();
    begin_with(&mut *producer(&log, "old"), "left open");
    drop(log);
    let log = EmbeddedLog::open(directory.path()).unwrap();
    let mut new = producer(&log, "new");
    let mut old = producer(&log, "old");
    begin_with(&mut *old, "aborted");
    begin_with(&mut *new, "committed");
    new.commit(NOW).unwrap();
    old.abort(NOW).unwrap();
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    let values = ledger::read_all(&mut *reader, &TopicPartition::new("t", 0));
    assert_eq!(values, ["committed"]);
}

#[test]
fn topics_keep_their_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let config = [("cleanup.policy", "compact,delete"), ("retention.ms", "1234")];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let topic = NewTopic { name: "t".into(), partitions: 3, replication: None, config };
    let describe = |log: &EmbeddedLog| {
        log.admin().unwrap().describe(&["t".into(), "other".into()], NOW).unwrap()
    };
    let log = EmbeddedLog::open(directory.path()).unwrap();
    log.admin().unwrap().create(&topic, NOW).unwrap();
    let before = describe(&log);
    drop(log);
    assert_eq!(describe(&EmbeddedLog::open(directory.path()).unwrap()), before);
    assert!(before[0].is_some() && before[1].is_none());
}
