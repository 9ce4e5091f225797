//! Each segment records where the one before it ends, and a partition's row where its last segment
//! ends. So a scan notices a missing segment.
//!
//! Offsets alone cannot show that: markers, compaction and aborted records leave gaps.

use redb::ReadTransaction;
use streams_core::TopicPartition;

use super::layout::{self, Linked, LogFormat, PartitionRow, corrupt};
use super::seal::Seal;
use super::{PARTITIONS, RedbResult, SEGMENTS};
use crate::partition::{PartitionId, Segment};

/// Checks that the segments of a partition follow each other.
#[derive(Debug)]
pub(super) struct SegmentChain<'a> {
    name: &'a TopicPartition,
    row: PartitionRow,
    before: Predecessor,
}

/// What is known of the segment before the next one.
#[derive(Clone, Copy, Debug)]
enum Predecessor {
    /// There is none: it was deleted, or never existed.
    Nothing,
    /// It was not read.
    Unknown,
    /// Segments of version 1 do not say.
    Unsaid,
    EndsAt(i64),
}

impl<'a> SegmentChain<'a> {
    /// Starts with the first existing segment.
    pub(super) fn from_first(name: &'a TopicPartition, row: PartitionRow) -> Self {
        Self { name, row, before: Predecessor::Nothing }
    }

    /// Starts with any segment.
    pub(super) fn from_any(name: &'a TopicPartition, row: PartitionRow) -> Self {
        Self { name, row, before: Predecessor::Unknown }
    }

    /// For a log whose segments do not name their predecessors.
    pub(super) fn unlinked(name: &'a TopicPartition, row: PartitionRow) -> Self {
        Self { name, row, before: Predecessor::Unsaid }
    }

    /// The end offset of the segments so far.
    pub(super) fn reached(&self) -> i64 {
        match self.before {
            Predecessor::EndsAt(end) => end,
            Predecessor::Nothing | Predecessor::Unknown | Predecessor::Unsaid => self.row.start,
        }
    }

    /// Takes the next segment.
    pub(super) fn follow(&mut self, linked: Linked) -> RedbResult<Segment> {
        let Linked { segment, after } = linked;
        let is_next = match self.before {
            Predecessor::Nothing => after <= self.row.start,
            Predecessor::Unknown | Predecessor::Unsaid => true,
            Predecessor::EndsAt(end) => after == end,
        };
        if !is_next {
            return Err(self.missing(segment.base));
        }
        if segment.last() >= self.row.end {
            let name = self.name;
            let base = segment.base;
            let end = self.row.end;
            return Err(corrupt(format!("{name}: records at offset {base}, but it ends at {end}")));
        }
        if !matches!(self.before, Predecessor::Unsaid) {
            self.before = Predecessor::EndsAt(segment.last() + 1);
        }
        Ok(segment)
    }

    /// There are no more segments.
    pub(super) fn finish(&self) -> RedbResult<()> {
        let end = self.row.segments_end;
        let is_whole = match self.before {
            Predecessor::Nothing => end <= self.row.start,
            Predecessor::Unknown | Predecessor::Unsaid => true,
            Predecessor::EndsAt(reached) => reached == end,
        };
        if is_whole { Ok(()) } else { Err(self.missing(end)) }
    }

    fn missing(&self, until: i64) -> redb::Error {
        let name = self.name;
        let from = self.reached();
        corrupt(format!("{name}: records are missing from offset {from} to before {until}"))
    }
}

/// Decodes a sealed segment of a partition. An error says where it should have been.
pub(super) fn open_segment(
    seal: Seal,
    log: LogFormat,
    id: PartitionId,
    name: &TopicPartition,
    key: &[u8],
    value: &[u8],
) -> RedbResult<Linked> {
    // A range scan of a damaged tree may return rows outside the range.
    let base = match layout::read_place(key) {
        Some((of, base)) if of == id => base,
        _ => return Err(corrupt(format!("{name}: records of another partition"))),
    };
    let at = || format!("{name}: the records from offset {base}");
    let value = match log {
        LogFormat::One => value,
        LogFormat::Two(_) => layout::unseal(seal, SEGMENTS, key, value)
            .map_err(|_| corrupt(format!("{} are not what was written there", at())))?,
    };
    let linked = layout::read_segment(log, key, value);
    linked.ok_or_else(|| corrupt(format!("{} cannot be read", at())))
}

/// The row of a partition, as of a read transaction.
pub(super) fn partition_row(
    read: &ReadTransaction,
    seal: Seal,
    id: PartitionId,
) -> RedbResult<PartitionRow> {
    let key = layout::id(id);
    let missing = || corrupt(format!("the row of partition {id} is missing"));
    let table = read.open_table(PARTITIONS)?;
    let row = table.get(&key[..])?.ok_or_else(missing)?;
    let value = layout::unseal(seal, PARTITIONS, &key, row.value())?;
    layout::read_partition(value).ok_or_else(|| corrupt("a partition cannot be read"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chunk::{Chunk, NewRecord};

    fn linked(base: i64, after: i64) -> Linked {
        let mut chunk = Chunk::default();
        let new = NewRecord { key: None, value: None, timestamp: 0, headers: b"" };
        (0..10).for_each(|delta| chunk.push(delta, new));
        Linked { segment: Segment { base, producer: None, chunk: Arc::new(chunk) }, after }
    }

    fn walk(row: PartitionRow, segments: &[(i64, i64)]) -> Result<(), String> {
        let name = TopicPartition::new("t", 3);
        let mut chain = SegmentChain::from_first(&name, row);
        for (base, after) in segments {
            chain.follow(linked(*base, *after)).map_err(|e| e.to_string())?;
        }
        chain.finish().map_err(|e| e.to_string())
    }

    #[test]
    fn a_missing_segment_is_noticed_wherever_it_is() {
        let row = PartitionRow { start: 5, end: 60, segments_end: 52, ..PartitionRow::default() };
        assert_eq!(walk(row, &[(0, 0), (11, 10), (42, 21)]), Ok(()));
        assert_eq!(walk(row, &[(11, 3), (42, 21)]), Ok(()), "what was before was deleted");
        for (missing, found) in [
            (&[(11, 10), (42, 21)][..], "from offset 5 to before 11"),
            (&[(0, 0), (42, 21)], "from offset 10 to before 42"),
            (&[(0, 0), (11, 10)], "from offset 21 to before 52"),
            (&[], "from offset 5 to before 52"),
        ] {
            let error = walk(row, missing).unwrap_err();
            assert!(error.contains("t-3") && error.contains(found), "{error}");
        }
        let error = walk(row, &[(11, 3), (42, 21), (52, 52)]).unwrap_err();
        assert!(error.contains("ends at 60"), "{error}");
    }
}
