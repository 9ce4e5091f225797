//! The bytes on disk. Version 1.
//!
//! Keys are big-endian, so that they sort as their numbers do; everything else is little-endian.
//! Text is its length in four bytes and UTF-8. Whatever is read is checked, and what cannot have
//! been written is an error, not a panic.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | meta | `format` | magic, version |
//! | meta | `producers` | next producer id |
//! | topics | name | partition count, first partition id, settings as they were given |
//! | partitions | id | start, end, bytes since the last compaction, bytes it left |
//! | segments | id, base offset | [`segment`] |
//! | aborted | id, marker offset | producer id, first offset |
//! | transactional | transactional id | producer id, epoch, time-out, open partitions |
//! | offsets | group, topic, partition | offset, metadata |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streams_core::TopicPartition;

use crate::aborted::Aborted;
use crate::chunk::{Chunk, Entry};
use crate::group::Committed;
use crate::partition::{Partition, PartitionId, Segment};
use crate::topic::{Topic, TopicConfig};
use crate::transaction::{Open, Transactional};

pub(super) const FORMAT: &[u8] = b"format";
pub(super) const NEXT_PRODUCER: &[u8] = b"producers";
const MAGIC: &[u8; 16] = b"headwater log\0\0\0";
pub(super) const VERSION: u32 = 1;

/// Where a chunk that was not written in a transaction has its producer id.
const NO_PRODUCER: i64 = -1;

/// An error for bytes that this program cannot have written.
pub(super) fn corrupt(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} of the log cannot be read"))
}

/// What stands under [`FORMAT`].
pub(super) fn format() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}

/// The version, if this is a log at all.
pub(super) fn read_format(bytes: &[u8]) -> Option<u32> {
    let version = bytes.strip_prefix(MAGIC)?;
    Some(u32::from_le_bytes(version.try_into().ok()?))
}

pub(super) fn number(number: i64) -> Vec<u8> {
    number.to_le_bytes().into()
}

pub(super) fn read_number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.try_into().ok()?))
}

pub(super) fn text(text: &str) -> Vec<u8> {
    text.as_bytes().into()
}

pub(super) fn read_text(bytes: &[u8]) -> Option<Arc<str>> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

pub(super) fn id(id: PartitionId) -> Vec<u8> {
    id.to_be_bytes().into()
}

pub(super) fn read_id(bytes: &[u8]) -> Option<PartitionId> {
    Some(PartitionId::from_be_bytes(bytes.try_into().ok()?))
}

/// An offset of a partition, as a key. Offsets are never negative.
pub(super) fn place(id: PartitionId, offset: i64) -> Vec<u8> {
    [&id.to_be_bytes()[..], &offset.to_be_bytes()].concat()
}

pub(super) fn read_place(key: &[u8]) -> Option<(PartitionId, i64)> {
    let (id, offset) = key.split_at_checked(4)?;
    Some((read_id(id)?, i64::from_be_bytes(offset.try_into().ok()?)))
}

/// Takes a value apart.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.u32()? as usize;
        std::str::from_utf8(self.take(len)?).ok()
    }

    /// Nothing may be left.
    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Partition ids of a topic follow each other, so that the first and the count say all.
pub(super) fn topic(topic: &Topic) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(topic.partitions.len() as u32).to_le_bytes());
    out.extend_from_slice(&topic.partitions.first().copied().unwrap_or(0).to_le_bytes());
    let settings = topic.config.settings();
    out.extend_from_slice(&(settings.len() as u32).to_le_bytes());
    for (name, value) in settings {
        put_text(&name, &mut out);
        put_text(&value, &mut out);
    }
    out
}

pub(super) fn read_topic(name: &[u8], value: &[u8]) -> Option<Topic> {
    let name = read_text(name)?;
    let mut reader = Reader(value);
    let (count, first, settings) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let mut pairs = Vec::new();
    for _ in 0..settings {
        pairs.push((reader.text()?.to_owned(), reader.text()?.to_owned()));
    }
    reader.end()?;
    let partitions = (first..first.checked_add(count)?).collect();
    Some(Topic { name, partitions, config: TopicConfig::parse(&pairs).ok()? })
}

pub(super) fn partition(partition: &Partition) -> Vec<u8> {
    let Partition { start, end, dirty_bytes, clean_bytes, .. } = partition;
    let numbers = [start.to_le_bytes(), end.to_le_bytes()];
    [numbers.concat(), [dirty_bytes.to_le_bytes(), clean_bytes.to_le_bytes()].concat()].concat()
}

/// All of it is on disk, nothing in memory.
pub(super) fn read_partition(name: TopicPartition, value: &[u8]) -> Option<Partition> {
    let mut reader = Reader(value);
    let (start, end) = (reader.i64()?, reader.i64()?);
    let (dirty_bytes, clean_bytes) = (reader.u64()?, reader.u64()?);
    reader.end()?;
    let (visible, cached_from) = (end, end);
    let new = Partition::new(name);
    Some(Partition { start, end, visible, cached_from, dirty_bytes, clean_bytes, ..new })
}

/// Last delta, producer id, latest timestamp, date of the append, count; the entries; the bytes.
pub(super) fn segment(segment: &Segment, out: &mut Vec<u8>) {
    let chunk = &segment.chunk;
    out.clear();
    out.extend_from_slice(&chunk.last_delta().to_le_bytes());
    out.extend_from_slice(&segment.producer.unwrap_or(NO_PRODUCER).to_le_bytes());
    out.extend_from_slice(&chunk.latest.to_le_bytes());
    out.extend_from_slice(&chunk.appended.to_le_bytes());
    out.extend_from_slice(&(chunk.entries.len() as u32).to_le_bytes());
    for entry in &chunk.entries {
        out.extend_from_slice(&entry.timestamp.to_le_bytes());
        out.extend_from_slice(&entry.delta.to_le_bytes());
        out.extend_from_slice(&entry.start.to_le_bytes());
        out.extend_from_slice(&entry.key.to_le_bytes());
        out.extend_from_slice(&entry.value.to_le_bytes());
        out.extend_from_slice(&entry.headers.to_le_bytes());
    }
    out.extend_from_slice(&chunk.bytes);
}

pub(super) fn read_segment(key: &[u8], value: &[u8]) -> Result<Segment, redb::Error> {
    try_read_segment(key, value).ok_or_else(|| corrupt("a segment"))
}

fn try_read_segment(key: &[u8], value: &[u8]) -> Option<Segment> {
    let (_, base) = read_place(key)?;
    let mut reader = Reader(value);
    let last_delta = reader.u32()?;
    let (producer, latest, appended) = (reader.i64()?, reader.i64()?, reader.i64()?);
    let count = reader.u32()? as usize;
    let mut entries = Vec::with_capacity(count.min(value.len() / ENTRY_BYTES));
    for _ in 0..count {
        entries.push(read_entry(&mut reader)?);
    }
    let chunk = Chunk { bytes: reader.0.into(), entries, latest, appended };
    let producer = (producer != NO_PRODUCER).then_some(producer);
    let is_sound = chunk.is_sound() && chunk.last_delta() == last_delta;
    is_sound.then(|| Segment { base, producer, chunk: Arc::new(chunk) })
}

const ENTRY_BYTES: usize = 28;

fn read_entry(reader: &mut Reader<'_>) -> Option<Entry> {
    Some(Entry {
        timestamp: reader.i64()?,
        delta: reader.u32()?,
        start: reader.u32()?,
        key: reader.i32()?,
        value: reader.i32()?,
        headers: reader.u32()?,
    })
}

/// The offset of a segment's last record, without reading all of it.
pub(super) fn last_offset(key: &[u8], value: &[u8]) -> Option<i64> {
    let (_, base) = read_place(key)?;
    Some(base + i64::from(Reader(value).u32()?))
}

pub(super) fn aborted(aborted: &Aborted) -> Vec<u8> {
    [aborted.producer.to_le_bytes(), aborted.first.to_le_bytes()].concat()
}

pub(super) fn read_aborted(key: &[u8], value: &[u8]) -> Option<(PartitionId, Aborted)> {
    let (id, marker) = read_place(key)?;
    let mut reader = Reader(value);
    let aborted = Aborted { producer: reader.i64()?, first: reader.i64()?, marker };
    reader.end()?;
    Some((id, aborted))
}

pub(super) fn transactional(holder: &Transactional) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&holder.producer.to_le_bytes());
    out.extend_from_slice(&i32::from(holder.epoch).to_le_bytes());
    let timeout_ms = u64::try_from(holder.timeout.as_millis()).unwrap_or(u64::MAX);
    out.extend_from_slice(&timeout_ms.to_le_bytes());
    for (id, first) in holder.open.iter().flat_map(|open| &open.partitions) {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
    }
    out
}

pub(super) fn read_transactional(value: &[u8]) -> Option<Transactional> {
    let mut reader = Reader(value);
    let producer = reader.i64()?;
    let epoch = i16::try_from(reader.i32()?).ok()?;
    let timeout = Duration::from_millis(reader.u64()?);
    let mut partitions = BTreeMap::new();
    while !reader.0.is_empty() {
        partitions.insert(reader.u32()?, reader.i64()?);
    }
    let open = (!partitions.is_empty()).then(|| Open::left_on_disk(partitions));
    Some(Transactional { producer, epoch, timeout, open })
}

pub(super) fn offset_key(group: &str, partition: &TopicPartition) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(group, &mut out);
    put_text(&partition.topic, &mut out);
    out.extend_from_slice(&partition.partition.to_le_bytes());
    out
}

pub(super) fn read_offset_key(key: &[u8]) -> Option<(Arc<str>, TopicPartition)> {
    let mut reader = Reader(key);
    let (group, topic) = (reader.text()?.into(), reader.text()?);
    let partition = TopicPartition::new(topic, reader.i32()?);
    reader.end()?;
    Some((group, partition))
}

pub(super) fn committed(committed: &Committed) -> Vec<u8> {
    let mut out = committed.offset.to_le_bytes().to_vec();
    put_text(&committed.metadata, &mut out);
    out
}

pub(super) fn read_committed(value: &[u8]) -> Option<Committed> {
    let mut reader = Reader(value);
    let (offset, metadata) = (reader.i64()?, reader.text()?.to_owned());
    reader.end()?;
    Some(Committed { offset, metadata })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::NewRecord;

    fn sample() -> Segment {
        let mut chunk = Chunk { appended: 99, ..Chunk::default() };
        let headers = b"";
        chunk.push(0, NewRecord { key: None, value: Some(b"v"), timestamp: -1, headers });
        chunk.push(7, NewRecord { key: Some(b""), value: None, timestamp: 5, headers });
        Segment { base: 40, producer: Some(3), chunk: Arc::new(chunk) }
    }

    /// The bytes of version 1. Whoever changes them needs another version, and a way to read this
    /// one.
    #[test]
    fn segments_have_the_bytes_of_version_one() {
        let mut value = Vec::new();
        segment(&sample(), &mut value);
        let expected: Vec<u8> = [
            &[7, 0, 0, 0][..],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0, 0, 0],
            &[99, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0],
            &[255; 8],
            &[0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0],
            b"v",
        ]
        .concat();
        assert_eq!(value, expected);
        assert_eq!(place(2, 258), [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(format(), b"headwater log\0\0\0\x01\0\0\0");
    }

    #[test]
    fn segments_come_back() {
        let mut value = Vec::new();
        segment(&sample(), &mut value);
        let key = place(2, 40);
        let back = read_segment(&key, &value).unwrap();
        assert_eq!((back.base, back.producer), (40, Some(3)));
        assert_eq!(back.chunk, sample().chunk);
        assert_eq!(last_offset(&key, &value), Some(47));
    }

    #[test]
    fn damaged_segments_are_errors() {
        let mut value = Vec::new();
        segment(&sample(), &mut value);
        let key = place(2, 40);
        for len in 0..value.len() {
            assert!(read_segment(&key, &value[..len]).is_err(), "cut at {len}");
        }
        for index in [0, 28, 32, 40, 44, 48, 52, 56, 71] {
            let mut damaged = value.clone();
            damaged[index] ^= 0x80;
            // Some damage only makes another record; none may make a panic.
            if let Ok(segment) = read_segment(&key, &damaged) {
                let count = segment.chunk.entries.len();
                (0..count).for_each(|index| {
                    segment.chunk.record(segment.base, index);
                    segment.chunk.header_bytes(index);
                });
            }
        }
    }

    #[test]
    fn small_things_come_back() {
        let settings = [
            ("cleanup.policy", "compact,delete"),
            ("max.message.bytes", "77"),
            ("retention.ms", "5"),
        ];
        let settings: Vec<_> = settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let config = TopicConfig::parse(&settings).unwrap();
        let before = Topic { name: "t".into(), partitions: vec![4, 5, 6], config };
        let back = read_topic(b"t", &topic(&before)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{before:?}"));

        let holder = Transactional {
            producer: 5,
            epoch: 3,
            timeout: Duration::from_secs(60),
            open: Some(Open::left_on_disk([(1, 10), (2, 0)].into())),
        };
        let back = read_transactional(&transactional(&holder)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{holder:?}"));

        let name = TopicPartition::new("topic", 3);
        let back = read_offset_key(&offset_key("group", &name)).unwrap();
        assert_eq!(back, ("group".into(), name));
        let offset = Committed { offset: 17, metadata: "text".to_owned() };
        assert_eq!(read_committed(&committed(&offset)), Some(offset));
        let range = Aborted { producer: 1, first: 2, marker: 3 };
        assert_eq!(read_aborted(&place(9, 3), &aborted(&range)), Some((9, range)));
        assert_eq!(read_format(&format()), Some(VERSION));
        assert_eq!(read_format(b"something else"), None);
    }
}
