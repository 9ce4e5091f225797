//! A workload whose records show whether something was lost, doubled, torn or not really aborted.
//!
//! Writer `w` writes numbered transactions, each to two topics and a compacted one, with an offset.
//! After a crash each transaction must exist completely or not at all.
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../support/mod.rs"]
pub(crate) mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headwater_embedded::EmbeddedLog;
use runtime::transport::{
    ErrorKind, Group, Member, NewTopic, OffsetCommit, Outgoing, Producer, ProducerConfig, Reader,
    ReaderConfig, Result, Transport,
};
use streams_core::TopicPartition;

use support::member_of;

pub(crate) const WRITERS: u64 = 2;
const TIMEOUT: Duration = Duration::from_secs(10);
const TOPICS: [(&str, i32, &str); 4] = [
    ("left", 2, "delete"),
    ("right", 3, "delete"),
    ("input", 4, "delete"),
    ("table", 1, "compact"),
];

/// How many records transaction `n` has in the topic `left`; it has one in `right`.
fn left_count(n: u64) -> u64 {
    1 + n % 4
}

/// How many keys of the compacted topic a writer has.
const KEYS: u64 = 4;

/// Whether transaction `n` is one of those that are aborted.
fn is_aborted(n: u64) -> bool {
    n % 5 == 3
}

fn input(writer: u64) -> TopicPartition {
    TopicPartition::new("input", writer as i32)
}

pub(crate) fn create_topics(log: &EmbeddedLog) -> Result<()> {
    for (name, partitions, policy) in TOPICS {
        let config = vec![("cleanup.policy".to_owned(), policy.to_owned())];
        let topic = NewTopic { name: name.into(), partitions, replication: None, config };
        match log.admin()?.create(&topic, TIMEOUT) {
            Err(e) if e.kind() != ErrorKind::Exists => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Writes transactions; several may write at the same time.
pub(crate) struct Writer {
    number: u64,
    producer: Box<dyn Producer>,
    group: Arc<dyn Group>,
    left: Arc<str>,
    right: Arc<str>,
    table: Arc<str>,
    member: Box<dyn Member>,
}

impl Writer {
    pub(crate) fn new(log: &EmbeddedLog, number: u64) -> Result<Self> {
        let mut producer = log.producer(&ProducerConfig {
            transactional_id: Some(format!("writer-{number}").into()),
            transaction_timeout: Duration::from_secs(3600),
            buffer_bytes_max: 1 << 20,
        })?;
        producer.init(TIMEOUT)?;
        let mut member = member_of("ledger", log)?;
        member.poll(Duration::ZERO)?;
        let group = member.group();
        let left = "left".into();
        let right = "right".into();
        let table = "table".into();
        Ok(Self { number, producer, group, left, right, table, member })
    }

    /// Writes transaction `n`; returns whether it was committed or, as planned for some, aborted.
    pub(crate) fn write(&mut self, n: u64) -> Result<bool> {
        self.producer.begin()?;
        let text = format!("{} {n}", self.number);
        for k in 0..left_count(n) {
            self.send(&self.left.clone(), (n + k) % 2, None, &text)?;
        }
        self.send(&self.right.clone(), n % 3, None, &text)?;
        let key = format!("{} {}", self.number, n % KEYS);
        self.send(&self.table.clone(), 0, Some(&key), &text)?;
        // The group's generation changes while writers join: only the newest is accepted.
        self.member.poll(Duration::ZERO)?;
        let metadata = self.group.metadata()?;
        let partition = input(self.number);
        let offset = n as i64;
        let offsets = [OffsetCommit { partition, offset, metadata: text }];
        self.producer.send_offsets(&offsets, &metadata, TIMEOUT)?;
        if is_aborted(n) {
            self.producer.flush(TIMEOUT)?;
            self.producer.abort(TIMEOUT)?;
            return Ok(false);
        }
        self.producer.commit(TIMEOUT)?;
        Ok(true)
    }

    fn send(
        &mut self,
        topic: &Arc<str>,
        partition: u64,
        key: Option<&str>,
        text: &str,
    ) -> Result<()> {
        self.producer.send(&Outgoing {
            topic,
            partition: Some(partition as i32),
            key: key.map(str::as_bytes),
            value: Some(text.as_bytes()),
            timestamp: 1,
            headers: None,
        })
    }
}

/// The number of records of each (writer, n) that a read_committed reader sees in a topic.
fn tally(log: &EmbeddedLog, topic: &str, partitions: i32) -> BTreeMap<(u64, u64), u64> {
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    let mut tally = BTreeMap::new();
    for partition in 0..partitions {
        let partition = TopicPartition::new(topic, partition);
        for text in read_all(&mut *reader, &partition) {
            let (writer, n) = text.split_once(' ').unwrap();
            *tally.entry((writer.parse().unwrap(), n.parse().unwrap())).or_default() += 1;
        }
    }
    tally
}

/// All values of a partition. No transaction may be open: the reader must reach the end.
pub(crate) fn read_all(reader: &mut dyn Reader, partition: &TopicPartition) -> Vec<String> {
    let (start, end) = reader.bounds(partition, TIMEOUT).unwrap();
    reader.add(partition, start).unwrap();
    let mut values = Vec::new();
    while reader.position(partition).unwrap() < end {
        let before = reader.position(partition);
        for fetched in reader.poll(Duration::ZERO, 1000).unwrap() {
            for index in 0..fetched.batch.len() {
                let value = fetched.batch.record(index).value.unwrap();
                values.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        assert!(reader.position(partition) > before, "held back by an open transaction");
    }
    reader.remove(partition).unwrap();
    values
}

/// Checks that every transaction is complete and that the offset is that of the last one; returns
/// the visible transactions by writer.
pub(crate) fn verify(log: &EmbeddedLog) -> Vec<BTreeSet<u64>> {
    let left = tally(log, "left", 2);
    let right = tally(log, "right", 3);
    for (&(writer, n), &count) in &left {
        assert_eq!(count, left_count(n), "transaction {n} of writer {writer} is torn or doubled");
        assert!(!is_aborted(n), "transaction {n} of writer {writer} was aborted");
    }
    let numbers =
        |tally: &BTreeMap<(u64, u64), u64>| tally.keys().copied().collect::<BTreeSet<_>>();
    assert_eq!(numbers(&left), numbers(&right), "one topic has what the other has not");
    assert!(right.values().all(|count| *count == 1), "doubled");
    verify_table(log, &left);
    let group = member_of("ledger", log).unwrap().group();
    (0..WRITERS)
        .map(|writer| {
            let visible: BTreeSet<_> =
                left.keys().filter(|(w, _)| *w == writer).map(|(_, n)| *n).collect();
            let committed = group.committed(&[input(writer)], TIMEOUT).unwrap().remove(0);
            let last = visible.last().map(|n| *n as i64);
            assert_eq!(committed.offset, last, "the offset is not that of the last transaction");
            if let Some(last) = last {
                assert_eq!(committed.metadata, format!("{writer} {last}"));
            }
            visible
        })
        .collect()
}

/// Each key of the compacted topic has the value of the last transaction that wrote it.
fn verify_table(log: &EmbeddedLog, visible: &BTreeMap<(u64, u64), u64>) {
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    let mut found = BTreeMap::new();
    for text in read_all(&mut *reader, &TopicPartition::new("table", 0)) {
        let (writer, n) = text.split_once(' ').unwrap();
        let writer: u64 = writer.parse().unwrap();
        let n: u64 = n.parse().unwrap();
        found.insert((writer, n % KEYS), n);
    }
    let expected = visible.keys().map(|&(writer, n)| ((writer, n % KEYS), n)).collect();
    assert_eq!(found, expected, "the table is not what its last writes say");
}
