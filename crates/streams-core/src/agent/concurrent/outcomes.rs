//! The records of several futures in order, with the outcomes of those that are done.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::readers::Readers;
use crate::agent::link::FinishedWork;
use crate::error::Cause;
use crate::record::{OwnedRecord, Timestamp};
use crate::state::tables::Tables;
use crate::state::unreleased::RecordWrites;

/// The outcome of a record.
pub(super) struct RecordOutcome {
    /// Why it failed.
    pub(super) failure: Option<Cause>,
    /// For a batch, its first record has the work of all.
    pub(super) kept: FinishedWork,
    /// The number of the last record of its batch. A batch is released as a whole, because a commit
    /// in between would tear it.
    pub(super) until: u64,
}

struct DeliveredRecord {
    record: OwnedRecord,
    worker: usize,
    outcome: Option<RecordOutcome>,
}

/// All records that were delivered and not released. Numbers count from the start of the task.
#[derive(Default)]
pub(super) struct Outcomes {
    entries: VecDeque<DeliveredRecord>,
    /// The number of the first of them.
    first: u64,
    readers: Readers,
}

/// For each worker, the first of its records that must be processed again.
pub(super) type Stale = BTreeMap<usize, u64>;

impl Outcomes {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next record gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn push(&mut self, record: OwnedRecord, worker: usize) {
        self.entries.push_back(DeliveredRecord { record, worker, outcome: None });
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn entry(&self, number: u64) -> Option<&DeliveredRecord> {
        self.entries.get(self.place(number)?)
    }

    pub(super) fn record(&self, number: u64) -> Option<&OwnedRecord> {
        self.entry(number).map(|entry| &entry.record)
    }

    pub(super) fn set(&mut self, number: u64, outcome: RecordOutcome) {
        self.readers.add(number, &outcome.kept.read);
        if let Some(entry) = self.place(number).and_then(|place| self.entries.get_mut(place)) {
            entry.outcome = Some(outcome);
        }
    }

    /// Adds what a worker has done without a record to its last finished record, so that it comes
    /// after it. Returns the work if that record is already released.
    pub(super) fn add_to_last(
        &mut self,
        worker: usize,
        kept: FinishedWork,
    ) -> Option<FinishedWork> {
        let first = self.first;
        let last = self.entries.iter_mut().enumerate().rev().find_map(|(place, entry)| {
            let outcome = entry.outcome.as_mut().filter(|_| entry.worker == worker)?;
            Some((first + place as u64, outcome))
        });
        let Some((number, outcome)) = last else { return Some(kept) };
        self.readers.add(number, &kept.read);
        outcome.kept.append(kept);
        None
    }

    /// The outcomes of a worker's records, in order.
    pub(super) fn of_worker(&self, worker: usize) -> impl Iterator<Item = &RecordOutcome> {
        let entries = self.entries.iter().filter(move |entry| entry.worker == worker);
        entries.filter_map(|entry| entry.outcome.as_ref())
    }

    /// The number after the first record and all that must be released with it, if all are done.
    pub(super) fn end_of_first(&self) -> Option<u64> {
        let mut end = self.first + 1;
        for (entry, number) in self.entries.iter().zip(self.first..) {
            if number == end {
                return Some(end);
            }
            end = end.max(entry.outcome.as_ref()?.until + 1);
        }
        (!self.entries.is_empty()).then_some(end)
    }

    /// Releases the first record: returns its worker and its outcome.
    pub(super) fn pop(&mut self) -> Option<(usize, RecordOutcome)> {
        let outcome = self.entries.front_mut()?.outcome.take()?;
        let entry = self.entries.pop_front()?;
        self.readers.remove(self.first, &outcome.kept.read);
        self.first += 1;
        Some((entry.worker, outcome))
    }

    /// Among the records with these numbers, finds those that were done before they could read what
    /// `by` wrote, or before rows that they found expired.
    pub(super) fn stale(
        &self,
        written: &RecordWrites,
        gone: &[(usize, Timestamp)],
        by: usize,
        numbers: Range<u64>,
    ) -> Stale {
        let mut stale = Stale::new();
        let mut note = |worker: usize, number: u64| {
            let first = stale.entry(worker).or_insert(number);
            *first = number.min(*first);
        };
        for number in self.readers.of(written, &numbers) {
            // A worker has already seen its own writes.
            let others = self.entry(number).filter(|entry| entry.worker != by);
            others.into_iter().for_each(|entry| note(entry.worker, number));
        }
        for number in self.readers.others(numbers) {
            let Some(DeliveredRecord { worker, outcome: Some(outcome), .. }) = self.entry(number)
            else {
                continue;
            };
            let read = &outcome.kept.read;
            if (*worker != by && read.has_any_of(written))
                || gone.iter().any(|(table, gone)| read.has_found(*table, *gone))
            {
                note(*worker, number);
            }
        }
        stale
    }

    /// Whether one of the first records, up to `end`, would make another one of them be processed
    /// again.
    pub(super) fn is_contradictory(&self, end: u64, tables: &Tables) -> bool {
        (self.first..end).any(|number| {
            let Some(DeliveredRecord { worker, outcome: Some(outcome), .. }) = self.entry(number)
            else {
                return false;
            };
            let written = &outcome.kept.written;
            let gone = tables.gone_after(written);
            !self.stale(written, &gone, *worker, number + 1..end).is_empty()
                || self.is_read_by_a_batch_around(number, *worker, written)
        })
    }

    /// Whether another worker's batch, with records before and after this one, has read what this
    /// one wrote. The earlier records should not have read it, and the later ones should have.
    fn is_read_by_a_batch_around(&self, number: u64, by: usize, written: &RecordWrites) -> bool {
        let before = self.entries.iter().take(self.place(number).unwrap_or(0));
        let mut others = before.filter(|entry| entry.worker != by);
        others.any(|entry| {
            let outcome = entry.outcome.as_ref().filter(|outcome| outcome.until > number);
            outcome.is_some_and(|batch| batch.kept.read.has_any_of(written))
        })
    }

    /// The first record of each worker up to `end`, and how many it has there.
    pub(super) fn of_each_worker(&self, end: u64) -> BTreeMap<usize, (u64, usize)> {
        let mut workers = BTreeMap::new();
        for number in self.first..end {
            let Some(entry) = self.entry(number) else { break };
            workers.entry(entry.worker).or_insert((number, 0)).1 += 1;
        }
        workers
    }

    /// Removes the outcomes of a worker's records, starting with one, and returns their numbers.
    pub(super) fn take_back(&mut self, worker: usize, from: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for (entry, number) in self.entries.iter_mut().zip(self.first..) {
            if number < from || entry.worker != worker {
                continue;
            }
            if let Some(outcome) = entry.outcome.take() {
                self.readers.remove(number, &outcome.kept.read);
                numbers.push(number);
            }
        }
        numbers
    }
}
