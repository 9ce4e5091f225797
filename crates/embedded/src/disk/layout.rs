//! The bytes on disk. Version 2.
//!
//! Keys are big-endian, so that they sort as their numbers do; everything else is little-endian.
//! Text is its length in four bytes and UTF-8. A checksum stands at the end of each row, see
//! [`seal`](super::seal). Everything read is checked; bytes that cannot have been written are an
//! error, never a panic.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | meta | `format` | magic, version, id of the log |
//! | meta | `ledger` | [`ledger`] |
//! | topics | name | partition count, first partition id, settings as they were given |
//! | partitions | id | [`partition`] |
//! | segments | id, base offset | [`segment`] |
//! | aborted | id, marker offset | producer id, first offset |
//! | transactional | transactional id | producer id, epoch, time-out, open partitions |
//! | offsets | group, topic, partition | offset, metadata |
//!
//! Version 1 had no checksums and no log id. It kept the next producer id under `producers` instead
//! of a ledger, and its segments did not name their predecessors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redb::TableHandle;
use streams_core::TopicPartition;

use super::ledger::{Ledger, Sum};
use super::seal::{LogId, Seal};
use super::{Definition, RedbResult};
use crate::aborted::Aborted;
use crate::chunk::{Chunk, RecordSpan};
use crate::group::OffsetAndMetadata;
use crate::partition::{PartitionId, PartitionLog, Segment};
use crate::topic::{PARTITIONS_MAX, TopicConfig, TopicState};
use crate::transaction::{Open, Transactional};

pub(super) const FORMAT: &[u8] = b"format";
pub(super) const LEDGER: &[u8] = b"ledger";
/// The key of the next producer id in version 1.
pub(super) const NEXT_PRODUCER: &[u8] = b"producers";
const MAGIC: &[u8; 16] = b"headwater log\0\0\0";
pub(super) const VERSION: u32 = 2;

/// Every offset is below this, which leaves room for all that is ever added to one.
const OFFSET_MAX: i64 = 1 << 62;

/// The producer id of a chunk that was not written in a transaction.
const NO_PRODUCER: i64 = -1;

/// An error for bytes that this program cannot have written.
pub(super) fn corrupt(what: impl Into<String>) -> redb::Error {
    redb::Error::Corrupted(what.into())
}

/// Checks a row's checksum and removes it.
pub(super) fn unseal<'a>(
    seal: Seal,
    table: Definition,
    key: &[u8],
    value: &'a [u8],
) -> RedbResult<&'a [u8]> {
    let opened = seal.open(table.name(), key, value);
    opened.ok_or_else(|| corrupt(format!("a row of {} has the wrong checksum", table.name())))
}

/// The format of a log on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// Version 1, without checksums.
    One,
    Two(LogId),
}

/// Encodes the value of [`FORMAT`].
pub(super) fn format(log: &LogId) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), log].concat()
}

/// The format, or `None` if this is no log. The error is a version that this program does not know.
pub(super) fn read_format(bytes: &[u8]) -> Option<Result<LogFormat, u32>> {
    let (version, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*version) {
        1 if rest.is_empty() => Some(Ok(LogFormat::One)),
        VERSION => {
            let log = *rest.first_chunk()?;
            Seal::of(&log).open("meta", FORMAT, bytes).map(|_| Ok(LogFormat::Two(log)))
        }
        other => Some(Err(other)),
    }
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

/// Reads the fields of a value in order.
struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
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

    /// Fails if bytes are left.
    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The partition ids of a topic are consecutive, so the first id and the count are enough.
pub(super) fn topic(topic: &TopicState) -> Vec<u8> {
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

pub(super) fn read_topic(name: &[u8], value: &[u8]) -> Option<TopicState> {
    let name = read_text(name)?;
    let mut reader = ByteReader(value);
    let count = reader.u32()?;
    let first = reader.u32()?;
    let settings = reader.u32()?;
    let mut pairs = Vec::new();
    for _ in 0..settings {
        pairs.push((reader.text()?.to_owned(), reader.text()?.to_owned()));
    }
    reader.end()?;
    let is_possible = (1..=PARTITIONS_MAX as u32).contains(&count);
    let partitions = (first..first.checked_add(count).filter(|_| is_possible)?).collect();
    Some(TopicState { name, partitions, config: TopicConfig::parse(&pairs).ok()? })
}

/// A partition's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionRow {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) dirty_bytes: u64,
    pub(super) clean_bytes: u64,
    /// Where its last segment ends. Only markers can follow it.
    pub(super) segments_end: i64,
}

impl PartitionRow {
    /// All but the last segment's end, which is known only when the row is written.
    pub(super) fn of(partition: &PartitionLog) -> Self {
        let PartitionLog { start, end, dirty_bytes, clean_bytes, .. } = *partition;
        Self { start, end, dirty_bytes, clean_bytes, segments_end: 0 }
    }

    /// The partition with all its records on disk and none in memory.
    pub(super) fn load(&self, name: TopicPartition) -> PartitionLog {
        let Self { start, end, dirty_bytes, clean_bytes, .. } = *self;
        let new = PartitionLog::new(name);
        PartitionLog { start, end, visible: end, cached_from: end, dirty_bytes, clean_bytes, ..new }
    }
}

/// Start, end, bytes appended since the last compaction, bytes left by it, end of the last segment.
pub(super) fn partition(row: &PartitionRow) -> Vec<u8> {
    let mut out = [row.start.to_le_bytes(), row.end.to_le_bytes()].concat();
    out.extend_from_slice(&row.dirty_bytes.to_le_bytes());
    out.extend_from_slice(&row.clean_bytes.to_le_bytes());
    out.extend_from_slice(&row.segments_end.to_le_bytes());
    out
}

/// In version 1 the end of the last segment is missing.
pub(super) fn read_partition(value: &[u8]) -> Option<PartitionRow> {
    let mut reader = ByteReader(value);
    let mut row = PartitionRow {
        start: reader.i64()?,
        end: reader.i64()?,
        dirty_bytes: reader.u64()?,
        clean_bytes: reader.u64()?,
        segments_end: 0,
    };
    if !reader.0.is_empty() {
        row.segments_end = reader.i64()?;
    }
    reader.end()?;
    let is_possible = 0 <= row.start
        && row.start <= row.end
        && row.end < OFFSET_MAX
        && (0..=row.end).contains(&row.segments_end);
    is_possible.then_some(row)
}

/// The number of commits, the next producer id, and for each counted table its rows and the sum of
/// their checksums, in the order of [`COUNTED`](super::ledger::COUNTED).
pub(super) fn ledger(ledger: &Ledger) -> Vec<u8> {
    let mut out = ledger.commits.to_le_bytes().to_vec();
    out.extend_from_slice(&ledger.producers.to_le_bytes());
    for Sum { rows, checksums } in ledger.sums {
        out.extend_from_slice(&rows.to_le_bytes());
        out.extend_from_slice(&checksums.to_le_bytes());
    }
    out
}

pub(super) fn read_ledger(seal: Seal, value: &[u8]) -> Option<Ledger> {
    let mut reader = ByteReader(value);
    let commits = reader.u64()?;
    let producers = reader.i64()?;
    let mut ledger = Ledger { commits, producers, ..Ledger::new(seal) };
    for sum in &mut ledger.sums {
        *sum = Sum { rows: reader.u64()?, checksums: reader.u64()? };
    }
    reader.end()?;
    ((0..OFFSET_MAX).contains(&producers) && commits < u64::MAX / 2).then_some(ledger)
}

/// End of the segment before it, last delta, producer id, latest timestamp, date of the append,
/// count; the entries; the bytes.
pub(super) fn segment(segment: &Segment, after: i64, out: &mut Vec<u8>) {
    let chunk = &segment.chunk;
    out.clear();
    out.extend_from_slice(&after.to_le_bytes());
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

/// A segment, and where the one before it ends.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) segment: Segment,
    pub(super) after: i64,
}

/// Decodes a segment without its checksum. Segments of version 1 name no predecessor.
pub(super) fn read_segment(format: LogFormat, key: &[u8], value: &[u8]) -> Option<Linked> {
    let (_, base) = read_place(key)?;
    let mut reader = ByteReader(value);
    let after = if format == LogFormat::One { 0 } else { reader.i64()? };
    let last_delta = reader.u32()?;
    let producer = reader.i64()?;
    let latest = reader.i64()?;
    let appended = reader.i64()?;
    let count = reader.u32()? as usize;
    let mut entries = Vec::with_capacity(count.min(value.len() / ENTRY_BYTES));
    for _ in 0..count {
        entries.push(read_entry(&mut reader)?);
    }
    let chunk = Chunk { bytes: reader.0.into(), entries, latest, appended };
    let producer = (producer != NO_PRODUCER).then_some(producer);
    let is_sound = chunk.is_sound()
        && chunk.last_delta() == last_delta
        && (0..OFFSET_MAX).contains(&base)
        && (0..=base).contains(&after);
    is_sound.then(|| Linked { segment: Segment { base, producer, chunk: Arc::new(chunk) }, after })
}

/// Changes the predecessor's end in an encoded segment.
pub(super) fn set_after(value: &mut [u8], after: i64) {
    if let Some(place) = value.first_chunk_mut::<8>() {
        *place = after.to_le_bytes();
    }
}

const ENTRY_BYTES: usize = 28;

fn read_entry(reader: &mut ByteReader<'_>) -> Option<RecordSpan> {
    Some(RecordSpan {
        timestamp: reader.i64()?,
        delta: reader.u32()?,
        start: reader.u32()?,
        key: reader.i32()?,
        value: reader.i32()?,
        headers: reader.u32()?,
    })
}

/// The offset of a segment's last record, read from its header.
pub(super) fn last_offset(key: &[u8], value: &[u8]) -> Option<i64> {
    let (_, base) = read_place(key)?;
    let mut reader = ByteReader(value);
    reader.i64()?;
    base.checked_add(reader.u32()?.into())
}

pub(super) fn aborted(aborted: &Aborted) -> Vec<u8> {
    [aborted.producer.to_le_bytes(), aborted.first.to_le_bytes()].concat()
}

pub(super) fn read_aborted(key: &[u8], value: &[u8]) -> Option<(PartitionId, Aborted)> {
    let (id, marker) = read_place(key)?;
    let mut reader = ByteReader(value);
    let aborted = Aborted { producer: reader.i64()?, first: reader.i64()?, marker };
    reader.end()?;
    (0..=marker).contains(&aborted.first).then_some((id, aborted))
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
    let mut reader = ByteReader(value);
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
    let mut reader = ByteReader(key);
    let group = reader.text()?.into();
    let topic = reader.text()?;
    let partition = TopicPartition::new(topic, reader.i32()?);
    reader.end()?;
    Some((group, partition))
}

pub(super) fn committed(committed: &OffsetAndMetadata) -> Vec<u8> {
    let mut out = committed.offset.to_le_bytes().to_vec();
    put_text(&committed.metadata, &mut out);
    out
}

pub(super) fn read_committed(value: &[u8]) -> Option<OffsetAndMetadata> {
    let mut reader = ByteReader(value);
    let offset = reader.i64()?;
    let metadata = reader.text()?.to_owned();
    reader.end()?;
    Some(OffsetAndMetadata { offset, metadata })
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

    const LOG: LogFormat = LogFormat::Two([7; 16]);

    /// The bytes of version 2. Changing them needs a new version, and code that still reads this
    /// one.
    #[test]
    fn segments_have_the_bytes_of_version_two() {
        let mut value = Vec::new();
        segment(&sample(), 31, &mut value);
        let expected: Vec<u8> = [
            &[31, 0, 0, 0, 0, 0, 0, 0][..],
            &[7, 0, 0, 0],
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
        let format = format(&[9; 16]);
        assert_eq!(format, [&b"headwater log\0\0\0\x02\0\0\0"[..], &[9; 16]].concat());
        let old = read_segment(LogFormat::One, &place(2, 40), &value[8..]).unwrap();
        assert_eq!((old.segment.chunk, old.after), (sample().chunk, 0), "version 1");
    }

    #[test]
    fn segments_come_back() {
        let mut value = Vec::new();
        segment(&sample(), 31, &mut value);
        let key = place(2, 40);
        let back = read_segment(LOG, &key, &value).unwrap();
        assert_eq!((back.segment.base, back.segment.producer, back.after), (40, Some(3), 31));
        assert_eq!(back.segment.chunk, sample().chunk);
        assert_eq!(last_offset(&key, &value), Some(47));
        set_after(&mut value, 40);
        assert_eq!(read_segment(LOG, &key, &value).unwrap().after, 40);
    }

    #[test]
    fn damaged_segments_are_errors() {
        let mut value = Vec::new();
        segment(&sample(), 31, &mut value);
        let key = place(2, 40);
        for len in 0..value.len() {
            assert!(read_segment(LOG, &key, &value[..len]).is_none(), "cut at {len}");
        }
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Without the checksum some damage just yields a different record, but none may panic.
            if let Some(Linked { segment, .. }) = read_segment(LOG, &key, &damaged) {
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
        let before = TopicState { name: "t".into(), partitions: vec![4, 5, 6], config };
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
        let offset = OffsetAndMetadata { offset: 17, metadata: "text".to_owned() };
        assert_eq!(read_committed(&committed(&offset)), Some(offset));
        let range = Aborted { producer: 1, first: 2, marker: 3 };
        assert_eq!(read_aborted(&place(9, 3), &aborted(&range)), Some((9, range)));
        let row =
            PartitionRow { start: 3, end: 9, segments_end: 8, dirty_bytes: 1, clean_bytes: 2 };
        assert_eq!(read_partition(&partition(&row)), Some(row));
        assert_eq!(read_format(b"something else"), None);
        let mut sealed = format(&[9; 16]);
        let log = LogFormat::Two([9; 16]);
        Seal::of(&[9; 16]).add("meta", FORMAT, &mut sealed);
        assert_eq!(read_format(&sealed), Some(Ok(log)));
        assert_eq!(read_format(b"headwater log\0\0\0\x01\0\0\0"), Some(Ok(LogFormat::One)));
        assert_eq!(read_format(b"headwater log\0\0\0\x03\0\0\0"), Some(Err(3)));
    }

    /// Impossible numbers are refused before anything is allocated for them or added to them.
    #[test]
    fn impossible_numbers_are_refused() {
        let topic = [&u32::MAX.to_le_bytes()[..], &[0; 4], &[0; 4]].concat();
        assert!(read_topic(b"t", &topic).is_none(), "four billion partitions");
        let topic = [&1u32.to_le_bytes()[..], &[0; 4], &[255; 4]].concat();
        assert!(read_topic(b"t", &topic).is_none(), "four billion settings");
        for (start, end, segments_end) in
            [(-1, 5, 5), (6, 5, 5), (0, i64::MAX, 0), (0, 5, 6), (0, 5, -1)]
        {
            let row = PartitionRow { start, end, segments_end, ..PartitionRow::default() };
            assert_eq!(read_partition(&partition(&row)), None, "{row:?}");
        }
        let mut value = Vec::new();
        segment(&sample(), 0, &mut value);
        for base in [-1, i64::MIN, i64::MAX, i64::MAX - 7] {
            assert!(read_segment(LOG, &place(0, base), &value).is_none(), "offset {base}");
        }
        value[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read_segment(LOG, &place(0, 0), &value).is_none(), "four billion records");
    }
}
