//! A log on disk may be far bigger than its cache, and every reader sees the same records.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use headwater_embedded::{EmbeddedLog, LogOptions};
use redb::{ReadableDatabase, ReadableTableMetadata};
use runtime::transport::{
    MemberConfig, NewTopic, Outgoing, Producer, ProducerConfig, ReaderConfig, Transport,
};
use streams_core::TopicPartition;

const CACHE_BYTES: usize = 64 << 10;
const NOW: Duration = Duration::ZERO;
const TRANSACTIONS: usize = 300;

fn create(log: &EmbeddedLog, name: &str, config: &[(&str, &str)]) -> Arc<str> {
    let config = config.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let topic = NewTopic { name: name.into(), partitions: 1, replication: None, config };
    log.admin().unwrap().create(&topic, NOW).unwrap();
    topic.name
}

fn producer(log: &EmbeddedLog, id: &str) -> Box<dyn Producer> {
    let transactional_id = Some(id.into());
    let transaction_timeout = Duration::from_secs(600);
    let buffer_bytes_max = 1 << 20;
    let config = ProducerConfig { transactional_id, transaction_timeout, buffer_bytes_max };
    let mut producer = log.producer(&config).unwrap();
    producer.init(NOW).unwrap();
    producer
}

fn value(n: usize) -> String {
    format!("{n} {}", "x".repeat(n % 3000))
}

/// Writes transactions, aborting every third, so that readers have something to skip. Returns the
/// committed values.
fn fill(log: &EmbeddedLog, topic: &Arc<str>) -> Vec<String> {
    let mut producer = producer(log, "filler");
    let mut committed = Vec::new();
    for transaction in 0..TRANSACTIONS {
        producer.begin().unwrap();
        let values: Vec<_> = (0..10).map(|n| value(transaction * 10 + n)).collect();
        for (n, value) in values.iter().enumerate() {
            let key = [(n % 7) as u8];
            let key = Some(&key[..]);
            let value = Some(value.as_bytes());
            let record =
                Outgoing { topic, partition: Some(0), key, value, timestamp: 1, headers: None };
            producer.send(&record).unwrap();
        }
        if transaction % 3 == 1 {
            producer.flush(NOW).unwrap();
            producer.abort(NOW).unwrap();
        } else {
            producer.commit(NOW).unwrap();
            committed.extend(values);
        }
    }
    committed
}

fn read(log: &EmbeddedLog, topic: &Arc<str>, offset: i64, at_once: usize) -> Vec<(i64, String)> {
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    let partition = TopicPartition::new(topic.clone(), 0);
    let (_, end) = reader.bounds(&partition, NOW).unwrap();
    reader.add(&partition, offset).unwrap();
    let mut records = Vec::new();
    let mut polls = 0;
    while reader.position(&partition) < Some(end) {
        polls += 1;
        assert!(polls < 100_000, "stuck at {:?} of {end}", reader.position(&partition));
        for fetched in reader.poll(NOW, at_once).unwrap() {
            assert!(fetched.batch.len() <= at_once);
            for index in 0..fetched.batch.len() {
                let record = fetched.batch.record(index);
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                records.push((record.offset, value));
            }
        }
    }
    records
}

#[test]
fn reads_are_the_same_from_disk_and_memory() {
    let directory = tempfile::tempdir().unwrap();
    let small = LogOptions::default().cache_bytes(CACHE_BYTES);
    let log = small.clone().open(directory.path()).unwrap();
    let topic = create(&log, "big", &[]);
    let committed = fill(&log, &topic);
    assert!(committed.iter().map(String::len).sum::<usize>() > 20 * CACHE_BYTES);
    let all = read(&log, &topic, 0, 7);
    assert!(all.iter().map(|(_, value)| value).eq(&committed), "from the beginning");
    for start in [1, 500, 1234, 3000, all[all.len() - 1].0] {
        let expected = all.iter().filter(|(offset, _)| *offset >= start);
        assert!(read(&log, &topic, start, 1000).iter().eq(expected), "from {start}");
    }
    drop(log);
    let log = small.open(directory.path()).unwrap();
    assert!(read(&log, &topic, 0, 100_000) == all, "after opening again");
}

#[test]
fn rewinds_into_what_is_only_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogOptions::default().cache_bytes(CACHE_BYTES).open(directory.path()).unwrap();
    let topic = create(&log, "big", &[]);
    let committed = fill(&log, &topic);
    let mut member = log.member(&member_of(&topic)).unwrap();
    member.poll(NOW).unwrap();
    let partition = TopicPartition::new(topic, 0);
    member.assign(std::slice::from_ref(&partition)).unwrap();
    let mut fetcher = member.fetcher().unwrap();
    for start in [Some(0), Some(2000), None, Some(3)] {
        fetcher.add(&partition, start).unwrap();
        let mut first = None;
        for _ in 0..20 {
            for fetched in fetcher.poll(NOW, 5).unwrap() {
                first = first.or(Some(fetched.batch.record(0).offset));
            }
        }
        assert!(first.unwrap() >= start.unwrap_or(0) && first.unwrap() <= start.unwrap_or(0) + 12);
    }
    assert!(!committed.is_empty());
}

fn member_of(topic: &Arc<str>) -> MemberConfig {
    MemberConfig {
        group_id: "group".into(),
        instance_id: None,
        topics: vec![topic.clone()],
        session_timeout: Duration::from_secs(600),
        heartbeat_interval: Duration::from_secs(1),
        read_committed: true,
        fetch_bytes_max: 1 << 20,
    }
}

#[test]
fn compaction_and_deletion_reach_what_is_only_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let small = LogOptions::default().cache_bytes(CACHE_BYTES);
    let log = small.clone().open(directory.path()).unwrap();
    let topic = create(&log, "table", &[("cleanup.policy", "compact")]);
    let deleted = create(&log, "deleted", &[]);
    fill(&log, &topic);
    fill(&log, &deleted);
    let all = read(&log, &topic, 0, 1000);
    log.maintain(0).unwrap();
    let left = read(&log, &topic, 0, 1000);
    let tail: Vec<_> = all[all.len() - 7..].to_vec();
    assert_eq!(left, tail, "seven keys, the last of each");
    let before = TopicPartition::new(deleted.clone(), 0);
    log.admin().unwrap().delete_records(&[(before, 3000)], NOW).unwrap();
    let rest = read(&log, &deleted, 0, 1000);
    assert!(rest[0].0 >= 3000 && rest.len() > 100);
    drop(log);
    let database = redb::Database::open(directory.path().join("log.redb")).unwrap();
    let segments = redb::TableDefinition::<&[u8], &[u8]>::new("segments");
    let segments = database.begin_read().unwrap().open_table(segments).unwrap();
    let count = segments.len().unwrap() as usize;
    assert!(count <= TRANSACTIONS / 10 + 2, "{count} segments are left on disk");
    drop((segments, database));
    let log = small.open(directory.path()).unwrap();
    assert_eq!(read(&log, &topic, 0, 1000), tail);
    assert_eq!(read(&log, &deleted, 0, 1000), rest);
}

#[test]
fn a_transaction_may_be_bigger_than_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogOptions::default().cache_bytes(CACHE_BYTES).open(directory.path()).unwrap();
    let topic = create(&log, "big", &[]);
    let mut producer = producer(&log, "big");
    producer.begin().unwrap();
    let text = "x".repeat(1000);
    for _ in 0..5000 {
        let value = Some(text.as_bytes());
        let topic = &topic;
        let record =
            Outgoing { topic, partition: Some(0), key: None, value, timestamp: 1, headers: None };
        producer.send(&record).unwrap();
    }
    producer.commit(NOW).unwrap();
    assert_eq!(read(&log, &topic, 0, 1000).len(), 5000);
}
