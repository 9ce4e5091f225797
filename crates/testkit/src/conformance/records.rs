//! Sending and collecting records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::transport::{Fetched, Outgoing, Producer};
use streams_core::{Headers, OwnedRecord, TopicPartition};

use super::env::{Env, at, must};

/// How long one poll waits.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// The timestamp of records where it does not matter.
pub(super) const TIME: i64 = 1_700_000_000_000;

/// A record for partition `partition` of `topic`, with `text` as key and value.
pub(super) fn outgoing<'a>(topic: &'a Arc<str>, partition: i32, text: &'a str) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: Some(partition),
        key: Some(text.as_bytes()),
        value: Some(text.as_bytes()),
        timestamp: TIME,
        headers: None,
    }
}

/// Sends one record for each of `texts` to partition `partition`.
pub(super) fn send(
    producer: &mut dyn Producer,
    topic: &Arc<str>,
    partition: i32,
    texts: impl IntoIterator<Item = impl AsRef<str>>,
) {
    for text in texts {
        must("send", producer.send(&outgoing(topic, partition, text.as_ref())));
    }
}

impl Env {
    /// Writes records outside any transaction and waits until they are acknowledged.
    pub(super) fn write(
        &self,
        topic: &Arc<str>,
        partition: i32,
        texts: impl IntoIterator<Item = impl AsRef<str>>,
    ) {
        let mut producer = self.producer();
        send(&mut *producer, topic, partition, texts);
        must("flush", producer.flush(self.patience));
    }

    /// Writes records in one committed transaction.
    pub(super) fn write_committed(&self, topic: &Arc<str>, partition: i32, texts: &[&str]) {
        let mut producer = self.transactional("writer");
        must("begin", producer.begin());
        send(&mut *producer, topic, partition, texts);
        must("commit", producer.commit(self.patience));
    }

    /// The records that a reader sees in a partition from `offset` to the end it can reach, and
    /// that position.
    ///
    /// Ends when the position reaches the end of the partition, or when nothing more comes for a
    /// while.
    pub(super) fn read_from(
        &self,
        partition: &TopicPartition,
        offset: i64,
        committed: bool,
    ) -> (Vec<OwnedRecord>, i64) {
        let mut reader = self.reader(committed);
        let (_, end) = self.retry("bounds", || reader.bounds(partition, self.patience));
        must("add", reader.add(partition, offset));
        let mut records = Vec::new();
        let mut idle_since = Instant::now();
        loop {
            let before = (records.len(), reader.position(partition));
            collect(must("poll", reader.poll(TICK, 1000)), partition, &mut records);
            let position = reader.position(partition);
            if position.is_some_and(|p| p >= end) {
                return (records, position.unwrap_or(end));
            }
            if (records.len(), position) != before {
                idle_since = Instant::now();
            }
            if idle_since.elapsed() > self.quiet * 4 {
                return (records, position.unwrap_or(offset));
            }
        }
    }

    /// The records that a reader sees in the whole partition.
    pub(super) fn read(
        &self,
        topic: &Arc<str>,
        partition: i32,
        committed: bool,
    ) -> Vec<OwnedRecord> {
        let partition = at(topic, partition);
        let mut reader = self.reader(committed);
        let (start, _) = self.retry("bounds", || reader.bounds(&partition, self.patience));
        self.read_from(&partition, start, committed).0
    }

    /// The values that a read_committed reader sees, waiting until there are `count`.
    pub(super) fn committed_values(
        &self,
        topic: &Arc<str>,
        partition: i32,
        count: usize,
    ) -> Vec<String> {
        self.eventually(&format!("{count} committed records in {topic}-{partition}"), || {
            let values = texts(&self.read(topic, partition, true));
            (values.len() >= count).then_some(values)
        })
    }
}

/// Copies the records fetched from `partition`; records of another partition are an error.
pub(super) fn collect(
    fetched: Vec<Fetched>,
    partition: &TopicPartition,
    records: &mut Vec<OwnedRecord>,
) {
    for (from, new) in by_partition(fetched) {
        assert_eq!(from, *partition, "records of a partition that was not asked for");
        records.extend(new);
    }
}

/// Copies the fetched records, by partition, in order.
pub(super) fn by_partition(fetched: Vec<Fetched>) -> BTreeMap<TopicPartition, Vec<OwnedRecord>> {
    let mut partitions = BTreeMap::<_, Vec<_>>::new();
    for Fetched { partition, batch } in fetched {
        let records = partitions.entry(partition).or_default();
        for index in 0..batch.len() {
            let raw = batch.record(index);
            let mut headers = Headers::new();
            batch.headers(index, &mut headers);
            records.push(OwnedRecord {
                offset: raw.offset,
                timestamp: raw.timestamp,
                key: raw.key.map(Into::into),
                value: raw.value.map(Into::into),
                headers,
            });
        }
    }
    partitions
}

/// The values as text, `null` for none.
pub(super) fn texts(records: &[OwnedRecord]) -> Vec<String> {
    records.iter().map(text).collect()
}

/// A record's value as text, `null` for none.
pub(super) fn text(record: &OwnedRecord) -> String {
    match &record.value {
        Some(value) => String::from_utf8_lossy(value).into_owned(),
        None => "null".to_owned(),
    }
}

/// The offsets.
pub(super) fn offsets(records: &[OwnedRecord]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

/// `count` different texts.
pub(super) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("r{n:05}")).collect()
}
