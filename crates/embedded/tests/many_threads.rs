//! Writers and a waiting reader, each on its own thread, see every record once, each transaction
//! complete, in order.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use headwater_embedded::{EmbeddedLog, LogOptions};
use runtime::transport::{NewTopic, Outgoing, ProducerConfig, ReaderConfig, Transport};
use streams_core::TopicPartition;

const WRITERS: u64 = 3;
const TRANSACTIONS: u64 = 200;
const LONG: Duration = Duration::from_secs(30);

/// Transaction `n` of a writer has `n % 50 + 1` records in each partition; every seventh is
/// aborted.
fn write(log: &EmbeddedLog, writer: u64, topic: &Arc<str>) {
    let mut producer = log
        .producer(&ProducerConfig {
            transactional_id: Some(format!("writer-{writer}").into()),
            transaction_timeout: LONG,
            buffer_bytes_max: 1 << 20,
        })
        .unwrap();
    producer.init(LONG).unwrap();
    for n in 0..TRANSACTIONS {
        producer.begin().unwrap();
        for k in 0..=n % 50 {
            for partition in 0..2 {
                let value = [writer, n, k].map(u64::to_be_bytes).concat();
                let value = Some(&value[..]);
                let record = Outgoing {
                    topic,
                    partition: Some(partition),
                    key: None,
                    value,
                    timestamp: 1,
                    headers: None,
                };
                producer.send(&record).unwrap();
            }
        }
        match n % 7 {
            6 => producer.abort(LONG).unwrap(),
            _ => producer.commit(LONG).unwrap(),
        }
    }
}

fn read(log: &EmbeddedLog, topic: &Arc<str>, total: u64) {
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    for partition in 0..2 {
        reader.add(&TopicPartition::new(topic.clone(), partition), 0).unwrap();
    }
    // By partition and writer: the transaction and the record that must come next.
    let mut expected = BTreeMap::<(i32, u64), (u64, u64)>::new();
    let mut count = 0;
    while count < total {
        let started = Instant::now();
        let polled = reader.poll(LONG, 100).unwrap();
        assert!(started.elapsed() < LONG, "slept although there was something to read");
        for fetched in polled {
            for index in 0..fetched.batch.len() {
                let value = fetched.batch.record(index).value.unwrap();
                let numbers: Vec<_> = value.as_chunks::<8>().0.iter().collect();
                let [writer, n, k] = numbers[..] else { panic!("{value:?}") };
                let [writer, n, k] = [writer, n, k].map(|bytes| u64::from_be_bytes(*bytes));
                let next = expected.entry((fetched.partition.partition, writer)).or_default();
                assert_eq!((n, k), *next, "of writer {writer} in {}", fetched.partition);
                *next = if k < n % 50 { (n, k + 1) } else { (n + 1 + u64::from(n % 7 == 5), 0) };
                count += 1;
            }
        }
    }
}

fn run(log: &EmbeddedLog) {
    let topic: Arc<str> = "shared".into();
    let new = NewTopic { name: topic.clone(), partitions: 2, replication: None, config: vec![] };
    log.admin().unwrap().create(&new, LONG).unwrap();
    let committed = (0..TRANSACTIONS).filter(|n| n % 7 != 6);
    let total = WRITERS * committed.map(|n| 2 * (n % 50 + 1)).sum::<u64>();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let topic = &topic;
            scope.spawn(move || write(log, writer, topic));
        }
        for _ in 0..2 {
            scope.spawn(|| read(log, &topic, total));
        }
        scope.spawn(|| (0..20).for_each(|now| log.maintain(now).unwrap()));
    });
}

#[test]
fn in_memory() {
    run(&EmbeddedLog::in_memory());
}

#[test]
fn on_disk_with_a_small_cache() {
    let directory = tempfile::tempdir().unwrap();
    run(&LogOptions::default().cache_bytes(16 << 10).open(directory.path()).unwrap());
}
