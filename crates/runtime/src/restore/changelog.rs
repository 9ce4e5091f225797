//! Reading changelogs into stores.

use std::time::Duration;

use streams_core::{
    Entries, RecordBatch, Store, StoreError, TableBatch, Timestamp, TopicPartition,
};

use super::look_ups::{RestorePhase, RestoringTask};
use super::{RECORDS_MAX, Restorer};
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::status::TaskState;
use crate::transport::{ErrorKind, Fetched};

/// A table on its way to its changelog's end.
pub(super) struct TableRestore {
    table: usize,
    pub(super) changelog: TopicPartition,
    from: i64,
    /// How far it was read.
    position: i64,
    target: i64,
    /// Where it ended when the offsets were committed from which the task goes on.
    known_end: Option<i64>,
    /// Something was committed behind that.
    pub(super) is_ahead: bool,
    /// What was read and is not yet applied.
    collected: Entries,
    /// Left alone for so long that nothing of its changelog may be missing.
    is_stale: bool,
}

/// A table that was left alone for longer than this is not brought up to date but made anew: the
/// tombstones of what was deleted meanwhile may be gone from the changelog, which keeps them for
/// `delete.retention.ms`, a day.
pub(crate) const STALE_MS: i64 = 12 * 60 * 60 * 1000;

/// Bytes of entries of a table that are collected before they are applied, whatever the bound for
/// all: sorted, a store takes many several times as fast as few.
const COLLECTED_MIN: usize = 64 << 10;

impl TableRestore {
    /// Decides from where to read. `bounds` are the changelog's first offset and its end,
    /// uncommitted records included; `known_end` is what the offsets say of it.
    pub(super) fn plan(
        table: usize,
        changelog: &TopicPartition,
        bounds: (i64, i64),
        known_end: Option<i64>,
        store: &mut dyn Store,
        now: Timestamp,
    ) -> Result<Self, AppError> {
        let (begin, end) = bounds;
        let from = store.position(table)?;
        if let Some(position) = from.filter(|position| *position < begin || *position > end) {
            // The changelog was truncated, or deleted and made anew. What the store holds may be
            // all that is left: nothing is wiped.
            let changelog = changelog.clone();
            return Err(AppError::ChangelogLost { changelog, position, begin, end });
        }
        let is_stale = store.as_of(table)?.is_some_and(|at| at < now - STALE_MS);
        if let Some(known_end) = known_end.filter(|known| *known > end) {
            tracing::error!(%changelog, end, known_end,
                "entries that were committed are gone; the table has what is left");
        }
        let known_end = known_end.filter(|known| *known <= end);
        // Once more what was committed since: to see whether there is anything.
        let from = from.unwrap_or(begin).min(known_end.unwrap_or(i64::MAX).max(begin));
        Ok(Self {
            table,
            changelog: changelog.clone(),
            from,
            position: from,
            target: end,
            known_end,
            is_ahead: false,
            collected: Entries::new(),
            is_stale,
        })
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Behind everything that is committed, as far as is known.
    pub(super) fn known_end(&self) -> i64 {
        self.position.max(self.known_end.unwrap_or(0))
    }

    /// Whether there is anything to read at all.
    pub(super) fn is_reading(&self) -> bool {
        self.from < self.target
    }

    pub(super) fn left(&self) -> i64 {
        (self.target - self.position).max(0)
    }

    pub(super) fn collected_bytes(&self) -> usize {
        self.collected.bytes()
    }

    /// What was read so far, for the store.
    fn take_collected(&mut self) -> TableBatch {
        let mut entries = std::mem::take(&mut self.collected);
        entries.sort();
        TableBatch { table: self.table, entries, position: Some(self.position) }
    }
}

impl Restorer {
    /// Reads a portion of the changelogs and applies it.
    pub(super) fn read(&mut self, wait: Duration) -> Result<(), AppError> {
        let reading =
            |opening: &RestoringTask| opening.stage == RestorePhase::Records && opening.left() > 0;
        if self.openings.iter().any(reading) {
            let fetched = match self.reader.poll(wait, RECORDS_MAX) {
                Ok(fetched) => fetched,
                Err(error) if error.kind() == ErrorKind::Retriable => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            for Fetched { partition, batch } in fetched {
                self.collect(&partition, &*batch)?;
            }
            self.load_full_batches()?;
        }
        self.note_positions()
    }

    fn collect(
        &mut self,
        partition: &TopicPartition,
        batch: &dyn RecordBatch,
    ) -> Result<(), AppError> {
        let Some((index, table)) = find(&self.openings, partition) else { return Ok(()) };
        let Some(last) = batch.len().checked_sub(1) else { return Ok(()) };
        if self.openings[index].tables[table].is_stale {
            return self.rebuild_store(index, "it was left alone for too long");
        }
        let opening = &mut self.openings[index];
        let sub = &self.topology.sub_topologies()[opening.assignment.task.sub_topology];
        let table = &mut opening.tables[table];
        let spec = &sub.tables()[table.table];
        for index in 0..batch.len() {
            spec.restore(&batch.record(index), &mut table.collected)
                .map_err(|error| AppError::Restore { partition: partition.clone(), error })?;
        }
        table.position = batch.record(last).offset + 1;
        table.is_ahead |= table.known_end.is_some_and(|end| end < table.position);
        opening.restored += batch.len() as u64;
        self.status.add_restored(opening.assignment.task, batch.len() as u64);
        Ok(())
    }

    /// Applies what has become as much as may wait.
    fn load_full_batches(&mut self) -> Result<(), AppError> {
        let at = self.clock.now();
        let tables = self.openings.iter().flat_map(|opening| &opening.tables);
        let reading = tables.filter(|table| table.left() > 0).count().max(1);
        let enough = (self.bytes_max / reading).max(COLLECTED_MIN);
        for opening in &mut self.openings {
            let Some(store) = opening.store.as_mut() else { continue };
            let is_full = |table: &&mut TableRestore| table.collected.bytes() >= enough;
            for table in opening.tables.iter_mut().filter(is_full) {
                store.load(table.take_collected(), at)?;
                reach(failpoint::RESTORE_READ);
            }
        }
        Ok(())
    }

    /// Where the reader is: it also passes what it does not deliver (markers, aborted and compacted
    /// records).
    fn note_positions(&mut self) -> Result<(), AppError> {
        let now = self.clock.now();
        for opening in self.openings.iter_mut().filter(|one| one.stage == RestorePhase::Records) {
            for table in opening.tables.iter_mut().filter(|table| table.left() > 0) {
                let read = self.reader.position(&table.changelog).unwrap_or(table.position);
                table.position = table.position.max(read);
            }
            let left = opening.left();
            let total = opening.tables.iter().map(|table| table.target - table.from).sum();
            let state = TaskState::Restoring { done: total - left, total };
            self.status.set_task_state(opening.assignment.task, state, "reading changelogs");
            if left == 0 {
                load_remaining(opening, now)?;
                opening.stage = RestorePhase::Read;
            }
        }
        Ok(())
    }
}

/// Applies what is left, and writes down how far tables have come whose last part held nothing for
/// them, so that it is not read again.
fn load_remaining(opening: &mut RestoringTask, at: Timestamp) -> Result<(), StoreError> {
    let Some(store) = opening.store.as_mut() else { return Ok(()) };
    for table in &mut opening.tables {
        if store.position(table.table)? != Some(table.position) {
            store.load(table.take_collected(), at)?;
            reach(failpoint::RESTORE_READ);
        }
    }
    Ok(())
}

/// The opening and the table, by their indices, that a changelog partition is read for.
fn find(openings: &[RestoringTask], partition: &TopicPartition) -> Option<(usize, usize)> {
    let reading = |(_, opening): &(usize, &RestoringTask)| opening.stage == RestorePhase::Records;
    openings.iter().enumerate().filter(reading).find_map(|(index, opening)| {
        let table = opening.tables.iter().position(|table| table.changelog == *partition)?;
        Some((index, table))
    })
}
