//! One partition: its records, what is visible of them, and which of them were aborted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use streams_core::TopicPartition;

use crate::aborted::AbortedRanges;
use crate::chunk::Chunk;
use crate::slices::{Slice, Slices};

/// The log's internal number of a partition.
pub(crate) type PartitionId = u32;

/// The identity of a transactional producer in the log.
pub(crate) type ProducerId = i64;

/// A chunk and its place in the log.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) base: i64,
    /// The transactional producer, if it was written in a transaction.
    pub(crate) producer: Option<ProducerId>,
    pub(crate) chunk: Arc<Chunk>,
}

impl Segment {
    /// The offset of its last record.
    pub(crate) fn last(&self) -> i64 {
        self.base + i64::from(self.chunk.last_delta())
    }
}

/// The limits of one read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadBudget {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl ReadBudget {
    pub(crate) fn is_spent(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

/// A partition.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    pub(crate) name: TopicPartition,
    /// The first offset that was not deleted.
    pub(crate) start: i64,
    /// The next offset.
    pub(crate) end: i64,
    /// Readers see nothing at or after this offset, because it may not be on disk yet. Without a
    /// disk, always the end.
    pub(crate) visible: i64,
    /// Segments from this offset on are in `tail`; earlier ones are on disk.
    pub(crate) cached_from: i64,
    pub(crate) tail: VecDeque<Segment>,
    /// Where open transactions begin here.
    pub(crate) open: BTreeMap<ProducerId, i64>,
    pub(crate) aborted: AbortedRanges,
    /// Bytes appended since the last compaction.
    pub(crate) dirty_bytes: u64,
    pub(crate) clean_bytes: u64,
}

impl PartitionLog {
    pub(crate) fn new(name: TopicPartition) -> Self {
        Self {
            name,
            start: 0,
            end: 0,
            visible: 0,
            cached_from: 0,
            tail: VecDeque::new(),
            open: BTreeMap::new(),
            aborted: AbortedRanges::default(),
            dirty_bytes: 0,
            clean_bytes: 0,
        }
    }

    /// The last stable offset: read_committed readers stop here.
    pub(crate) fn stable(&self) -> i64 {
        self.open.values().copied().fold(self.visible, i64::min)
    }

    /// Where readers stop.
    pub(crate) fn limit(&self, read_committed: bool) -> i64 {
        if read_committed { self.stable() } else { self.visible }
    }

    /// Puts `chunk` at the end.
    pub(crate) fn append(&mut self, chunk: Arc<Chunk>, producer: Option<ProducerId>) -> Segment {
        let segment = Segment { base: self.end, producer, chunk };
        self.end = segment.last() + 1;
        self.dirty_bytes = self.dirty_bytes.saturating_add(segment.chunk.weight() as u64);
        if let Some(producer) = producer {
            self.open.entry(producer).or_insert(segment.base);
        }
        self.tail.push_back(segment.clone());
        segment
    }

    /// Assigns an offset to a commit or abort marker.
    pub(crate) fn mark(&mut self) -> i64 {
        let marker = self.end;
        self.end += 1;
        marker
    }

    /// Deletes what is below `before`.
    pub(crate) fn trim(&mut self, before: i64) {
        self.start = self.start.max(before.min(self.end));
        self.cached_from = self.cached_from.max(self.start.min(self.end));
        while self.tail.front().is_some_and(|segment| segment.last() < self.start) {
            self.tail.pop_front();
        }
        self.aborted.trim(self.start);
    }

    /// Reads records in memory from `position`, skipping those hidden from this reader. Returns the
    /// position after them.
    pub(crate) fn read(
        &self,
        position: i64,
        read_committed: bool,
        budget: &mut ReadBudget,
        out: &mut Slices,
    ) -> i64 {
        let limit = self.limit(read_committed);
        let first = self.tail.partition_point(|segment| segment.last() < position);
        let visible = self.tail.range(first..).take_while(|segment| segment.base < limit);
        let wanted = visible.filter(|segment| !read_committed || !self.aborted.cover(segment));
        read_segments(wanted, position, limit, budget, out)
    }

    /// Forgets the first segment of the tail, which is on disk.
    pub(crate) fn evict_first(&mut self) -> Option<Segment> {
        let segment = self.tail.pop_front()?;
        self.cached_from = self.tail.front().map_or(self.end, |next| next.base);
        Some(segment)
    }
}

/// Takes slices of `segments` from `position` on. Returns the position after them: `end` if all
/// were taken.
pub(crate) fn read_segments<'a>(
    segments: impl Iterator<Item = &'a Segment>,
    position: i64,
    end: i64,
    budget: &mut ReadBudget,
    out: &mut Slices,
) -> i64 {
    for segment in segments {
        let from = segment.chunk.index_of(position - segment.base);
        let count = segment.chunk.entries.len();
        if from == count {
            continue;
        }
        if budget.is_spent() {
            return segment.chunk.record(segment.base, from).offset.max(position);
        }
        let to = from.saturating_add(budget.records).min(count);
        budget.records -= to - from;
        budget.bytes = budget.bytes.saturating_sub(segment.chunk.weight());
        out.push(Slice { chunk: segment.chunk.clone(), base: segment.base, from, to });
        if to < count {
            return segment.chunk.record(segment.base, to).offset;
        }
    }
    end.max(position)
}
