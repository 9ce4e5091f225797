//! Records never expire unless the topic was created with a retention time. Expiry is logged.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_embedded::EmbeddedLog;
use runtime::transport::{NewTopic, ProducerConfig, ReaderConfig, Transport};
use streams_core::TopicPartition;

const NOW: Duration = Duration::ZERO;
const DAY: i64 = 24 * 60 * 60 * 1000;

fn topic(log: &EmbeddedLog, name: &str, settings: &[(&str, &str)]) {
    let config = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let topic = NewTopic { name: name.into(), partitions: 1, replication: None, config };
    log.admin().unwrap().create(&topic, NOW).unwrap();
}

/// One record from 2023, and one from now.
fn write(log: &EmbeddedLog, topic: &str, now: i64) {
    let config = ProducerConfig {
        transactional_id: None,
        transaction_timeout: Duration::from_secs(60),
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = log.producer(&config).unwrap();
    producer.init(NOW).unwrap();
    for timestamp in [1_680_000_000_000, now] {
        support::send(&mut *producer, topic, b"order", timestamp);
        producer.flush(Duration::from_secs(5)).unwrap();
    }
}

fn bounds(log: &EmbeddedLog, topic: &str) -> (i64, i64) {
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    reader.bounds(&TopicPartition::new(topic, 0), NOW).unwrap()
}

fn check(log: &EmbeddedLog) {
    topic(log, "orders", &[]);
    topic(log, "weekly", &[("retention.ms", "604800000")]);
    let now = 1_780_000_000_000;
    for topic in ["orders", "weekly"] {
        write(log, topic, now);
    }
    log.maintain(now + DAY).unwrap();
    assert_eq!(bounds(log, "orders"), (0, 2), "no retention was configured");
    assert_eq!(bounds(log, "weekly"), (1, 2));
    let info = log.admin().unwrap().describe(&["orders".into()], NOW).unwrap();
    assert_eq!(info[0].as_ref().unwrap().retention_ms, -1);
}

#[test]
fn in_memory_and_on_disk() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        check(&EmbeddedLog::in_memory());
        let directory = tempfile::tempdir().unwrap();
        check(&EmbeddedLog::open(directory.path()).unwrap());
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<_> = text.lines().filter(|line| line.contains("records expired")).collect();
    assert_eq!(said.len(), 2, "{text}");
    for part in ["topic=weekly", "partition=0", "from=0", "to=1", "retention_ms=604800000"] {
        assert!(said[0].contains(part), "no {part} in {}", said[0]);
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
