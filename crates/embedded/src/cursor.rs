//! Reading partitions from positions, shared by fetchers and readers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::transport::{Fetched, Result};
use streams_core::{RecordBatch, TopicPartition};

use crate::aborted::AbortedRanges;
use crate::partition::{PartitionId, PartitionLog, ReadBudget, Segment, read_segments};
use crate::shared::{SharedLog, WaitFor};
use crate::slices::Slices;

/// How much is read from disk at once.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// A place in a partition.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) id: PartitionId,
    /// Every record below it that this reader may see has been delivered.
    pub(crate) position: i64,
    pub(crate) paused: bool,
    /// Read from disk and not delivered yet, up to `ahead_end`.
    ahead: VecDeque<Segment>,
    ahead_end: i64,
}

/// A part of a partition that has to come from disk.
#[derive(Debug)]
pub(crate) struct DiskRange {
    pub(crate) id: PartitionId,
    pub(crate) name: TopicPartition,
    pub(crate) from: i64,
    /// Nothing at or after this offset.
    pub(crate) to: i64,
    pub(crate) aborted: AbortedRanges,
    pub(crate) bytes_max: usize,
}

impl Cursor {
    pub(crate) fn new(id: PartitionId, position: i64) -> Self {
        Self { id, position, paused: false, ahead: VecDeque::new(), ahead_end: 0 }
    }

    /// Delivers from what was read ahead.
    fn read_ahead(&mut self, budget: &mut ReadBudget, out: &mut Slices) {
        if self.position >= self.ahead_end {
            return;
        }
        let end = self.ahead_end;
        self.position = read_segments(self.ahead.iter(), self.position, end, budget, out);
        while self.ahead.front().is_some_and(|segment| segment.last() < self.position) {
            self.ahead.pop_front();
        }
    }

    /// Delivers from memory. Returns the range to read from disk first, if it is not in memory.
    fn read(
        &mut self,
        partition: &PartitionLog,
        read_committed: bool,
        budget: &mut ReadBudget,
        out: &mut Slices,
    ) -> Option<DiskRange> {
        self.position = self.position.max(partition.start);
        self.read_ahead(budget, out);
        if self.position < self.ahead_end {
            return None;
        }
        let limit = partition.limit(read_committed);
        if self.position < partition.cached_from.min(limit) {
            if budget.is_spent() {
                return None;
            }
            let aborted = match read_committed {
                true => partition.aborted.clone(),
                false => AbortedRanges::default(),
            };
            let to = partition.cached_from.min(limit);
            let bytes_max = READ_AHEAD_BYTES;
            return Some(DiskRange {
                id: self.id,
                name: partition.name.clone(),
                from: self.position,
                to,
                aborted,
                bytes_max,
            });
        }
        self.position = partition.read(self.position, read_committed, budget, out);
        None
    }
}

/// The cursors of one client.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    by_name: BTreeMap<TopicPartition, Cursor>,
    /// The index of the cursor to read first.
    turn: usize,
}

impl Cursors {
    pub(crate) fn insert(&mut self, name: TopicPartition, cursor: Cursor) {
        self.by_name.insert(name, cursor);
    }

    pub(crate) fn remove(&mut self, name: &TopicPartition) {
        self.by_name.remove(name);
    }

    pub(crate) fn find(&self, name: &TopicPartition) -> Option<&Cursor> {
        self.by_name.get(name)
    }

    pub(crate) fn find_mut(&mut self, name: &TopicPartition) -> Option<&mut Cursor> {
        self.by_name.get_mut(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Cursor)> {
        self.by_name.iter()
    }

    /// Waits for records until the deadline, or until `wake` is set, and takes them.
    pub(crate) fn poll(
        &mut self,
        shared: &SharedLog,
        read_committed: bool,
        timeout: Duration,
        mut budget: ReadBudget,
        wake: Option<&AtomicBool>,
    ) -> Result<Vec<Fetched>> {
        let deadline = shared.deadline(timeout);
        let mut state = shared.lock_now();
        loop {
            state.check_health()?;
            let before = self.by_name.values().map(|cursor| cursor.position).sum::<i64>();
            let (fetched, missing) = self.take(&state.partitions, read_committed, &mut budget);
            if !missing.is_empty() {
                drop(state);
                self.load(shared, missing)?;
                if !fetched.is_empty() {
                    return Ok(fetched);
                }
                state = shared.lock();
                continue;
            }
            let moved = self.by_name.values().map(|cursor| cursor.position).sum::<i64>() > before;
            let woken = wake.is_some_and(|wake| wake.swap(false, Ordering::Acquire));
            // A position that only moves past a gap is worth returning too: a reader may be waiting
            // for it.
            if !fetched.is_empty() || moved || woken {
                return Ok(fetched);
            }
            match shared.wait(state, WaitFor::Data, deadline) {
                Some(guard) => drop(guard),
                None => return Ok(fetched),
            }
            state = shared.lock_now();
        }
    }

    /// Takes records from all cursors in turn; also returns the ranges to read from disk.
    fn take(
        &mut self,
        partitions: &[PartitionLog],
        read_committed: bool,
        budget: &mut ReadBudget,
    ) -> (Vec<Fetched>, Vec<DiskRange>) {
        let mut fetched = Vec::new();
        let mut missing = Vec::new();
        let turn = self.turn.checked_rem(self.by_name.len()).unwrap_or(0);
        self.turn = turn + 1;
        // Two passes over the map, so that those from `turn` on come first.
        for pass in [true, false] {
            for (n, (name, cursor)) in self.by_name.iter_mut().enumerate() {
                if cursor.paused || (n >= turn) != pass {
                    continue;
                }
                let mut slices = Slices::default();
                let partition = &partitions[cursor.id as usize];
                missing.extend(cursor.read(partition, read_committed, budget, &mut slices));
                if !slices.is_empty() {
                    fetched.push(Fetched { partition: name.clone(), batch: Box::new(slices) });
                }
            }
        }
        (fetched, missing)
    }

    /// Reads ahead from disk.
    fn load(&mut self, shared: &SharedLog, missing: Vec<DiskRange>) -> Result<()> {
        let Some(disk) = &shared.disk else { return Ok(()) };
        for range in missing {
            let (segments, end) = disk.read(&range)?;
            if let Some(cursor) = self.by_name.values_mut().find(|cursor| cursor.id == range.id) {
                cursor.ahead = segments.into();
                cursor.ahead_end = end;
            }
        }
        Ok(())
    }
}
