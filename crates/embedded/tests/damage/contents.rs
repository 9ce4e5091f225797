//! Everything that readers can see in a log.

use std::collections::BTreeMap;

use headwater_embedded::{EmbeddedLog, LeftOut};
use runtime::transport::{Outgoing, Reader, ReaderConfig, Result, Transport};
use streams_core::{Headers, TopicPartition};

use super::workload::{NOW, TOPICS, member, producer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Records by offset.
type Records = BTreeMap<i64, Record>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    topics: Vec<String>,
    /// The first and last offset, and the records that read_committed and other readers see.
    partitions: BTreeMap<TopicPartition, (i64, i64, Records, Records)>,
    offsets: Vec<(Option<i64>, String)>,
}

fn partitions() -> impl Iterator<Item = TopicPartition> {
    let all = |(name, count, _): (&'static str, i32, _)| {
        (0..count).map(move |number| TopicPartition::new(name, number))
    };
    TOPICS.into_iter().flat_map(all)
}

/// Reads the whole log.
pub(crate) fn read(log: &EmbeddedLog) -> Result<Contents> {
    let names = TOPICS.map(|(name, ..)| name.into());
    let topics = log.admin()?.describe(&names, NOW)?;
    let mut seen = BTreeMap::new();
    let mut committed = log.reader(&ReaderConfig::new(true))?;
    let mut any = log.reader(&ReaderConfig::new(false))?;
    for partition in partitions() {
        let (start, end) = any.bounds(&partition, NOW)?;
        let committed = read_partition(&mut *committed, &partition, start, end)?;
        let any = read_partition(&mut *any, &partition, start, end)?;
        seen.insert(partition, (start, end, committed, any));
    }
    let input: Vec<_> = (0..4).map(|number| TopicPartition::new("input", number)).collect();
    let offsets = member(log)?.group().committed(&input, NOW)?;
    Ok(Contents {
        topics: topics.iter().map(|topic| format!("{topic:?}")).collect(),
        partitions: seen,
        offsets: offsets.into_iter().map(|o| (o.offset, o.metadata)).collect(),
    })
}

fn read_partition(
    reader: &mut dyn Reader,
    partition: &TopicPartition,
    start: i64,
    end: i64,
) -> Result<Records> {
    reader.add(partition, start)?;
    let mut records = Records::new();
    while reader.position(partition).unwrap() < end {
        let before = reader.position(partition);
        for fetched in reader.poll(NOW, 1000)? {
            for index in 0..fetched.batch.len() {
                let record = fetched.batch.record(index);
                let mut headers = Headers::new();
                fetched.batch.headers(index, &mut headers);
                let headers = headers.iter().map(|(k, v)| (k.to_owned(), v.map(<[u8]>::to_vec)));
                let seen = Record {
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: headers.collect(),
                };
                assert!(records.insert(record.offset, seen).is_none(), "an offset seen twice");
            }
        }
        assert!(reader.position(partition) > before, "stuck before the end");
    }
    reader.remove(partition)?;
    Ok(records)
}

/// Appends a record to each partition of a topic, in a transaction.
pub(crate) fn append(log: &EmbeddedLog, text: &str) -> Result<()> {
    let mut producer = producer(log, Some("late"))?;
    producer.begin()?;
    let topic = &"orders".into();
    for partition in 0..3 {
        let value = Some(text.as_bytes());
        producer.send(&Outgoing {
            topic,
            partition: Some(partition),
            key: None,
            value,
            timestamp: 7,
            headers: None,
        })?;
    }
    producer.commit(NOW)
}

impl Contents {
    /// These contents without the records appended as `text`.
    pub(crate) fn without(mut self, text: &str, before: &Self) -> Self {
        let is_text = |record: &Record| record.value.as_deref() == Some(text.as_bytes());
        for (name, (_, end, committed, any)) in &mut self.partitions {
            committed.retain(|_, record| !is_text(record));
            any.retain(|_, record| !is_text(record));
            if let Some((_, earlier, ..)) = before.partitions.get(name) {
                *end = (*end).min(*earlier);
            }
        }
        self
    }

    /// How many records were appended as `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        let is_text = |record: &&Record| record.value.as_deref() == Some(text.as_bytes());
        self.partitions.values().map(|(.., any)| any.values().filter(is_text).count()).sum()
    }

    /// The fault, if any, in a log that was opened without its damaged part: it shows records that
    /// never existed, or lacks records that it does not list.
    pub(crate) fn is_part(&self, whole: &Self, left_out: &[LeftOut]) -> Option<String> {
        if left_out.iter().any(|what| matches!(what, LeftOut::Commits(_))) {
            // Compare with an earlier state, which has records that were deleted later.
            return None;
        }
        let is_listed = |name: &TopicPartition, offset: i64| {
            left_out.iter().any(|what| match what {
                LeftOut::Records { partition, from, to } => {
                    partition == name && (*from..*to).contains(&offset)
                }
                _ => false,
            })
        };
        for (name, (.., committed, any)) in &self.partitions {
            let (.., all_committed, all) = &whole.partitions[name];
            for (part, whole) in [(committed, all_committed), (any, all)] {
                let extra = part.iter().find(|(offset, r)| whole.get(offset) != Some(r));
                if let Some((offset, _)) = extra {
                    return Some(format!("{name} has something else at {offset}"));
                }
                let silent =
                    whole.keys().find(|at| !part.contains_key(at) && !is_listed(name, **at));
                if let Some(offset) = silent {
                    return Some(format!("{name} lacks {offset} and does not say so"));
                }
            }
        }
        let offsets_said = left_out.iter().any(|what| matches!(what, LeftOut::Offsets(_)));
        (self.offsets != whole.offsets && !offsets_said).then(|| "other offsets".to_owned())
    }
}
