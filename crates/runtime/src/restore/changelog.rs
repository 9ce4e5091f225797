//! Reading changelogs into stores.

use std::mem;
use std::time::Duration;

use streams_core::{
    Entries, RecordBatch, Store, StoreError, TableBatch, Timestamp, TopicPartition,
};

use super::restoring_task::{RestorePhase, RestoringTask};
use super::{RECORDS_MAX, Restorer};
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::status::TaskState;
use crate::stores::STALE_MS;
use crate::transport::{ErrorKind, Fetched};

/// A table on its way to its changelog's end.
pub(super) struct TableRestore {
    table: usize,
    pub(super) changelog: TopicPartition,
    /// Where reading began.
    from: i64,
    /// The next offset to read.
    position: i64,
    /// The end to be reached.
    target: i64,
    /// Where the changelog ended when the offsets were committed from which the task goes on.
    committed_end: Option<i64>,
    /// Something was committed after that end.
    pub(super) is_ahead: bool,
    /// Entries that were read and not applied yet.
    unapplied: Entries,
    /// Not updated for so long that no record of its changelog may be missing.
    is_stale: bool,
}

/// What is known of a changelog when its restore begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangelogBounds {
    /// The first offset that is still there.
    pub(super) begin: i64,
    /// The offset after the last record, uncommitted ones included.
    pub(super) end: i64,
    /// Where it ended when the task's offsets were committed, if they say so.
    pub(super) committed_end: Option<i64>,
}

/// Bytes of a table's entries that are collected before they are applied, whatever the bound for
/// all tables: a store loads many sorted entries several times as fast as a few.
const UNAPPLIED_MIN: usize = 64 << 10;

impl TableRestore {
    /// Decides from where to read, at the wall-clock time `now`.
    pub(super) fn plan(
        table: usize,
        changelog: &TopicPartition,
        bounds: ChangelogBounds,
        store: &mut dyn Store,
        now: Timestamp,
    ) -> Result<Self, AppError> {
        let ChangelogBounds { begin, end, committed_end } = bounds;
        let stored = store.position(table)?;
        if let Some(position) = stored.filter(|position| *position < begin || *position > end) {
            // The changelog was truncated, or deleted and created again. The store may hold all
            // that is left of the table, so it is not cleared.
            let changelog = changelog.clone();
            return Err(AppError::ChangelogLost { changelog, position, begin, end });
        }
        let is_stale = store.as_of(table)?.is_some_and(|at| at < now - STALE_MS);
        if let Some(committed_end) = committed_end.filter(|committed| *committed > end) {
            tracing::error!(%changelog, end, committed_end,
                "the changelog has lost committed entries; the table is restored without them");
        }
        let committed_end = committed_end.filter(|committed| *committed <= end);
        // What was committed after these offsets is read even if the store has it already: that
        // is how stale offsets are noticed.
        let from = stored.unwrap_or(begin).min(committed_end.unwrap_or(i64::MAX).max(begin));
        Ok(Self {
            table,
            changelog: changelog.clone(),
            from,
            position: from,
            target: end,
            committed_end,
            is_ahead: false,
            unapplied: Entries::new(),
            is_stale,
        })
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// The offset after everything that is committed, as far as is known.
    pub(super) fn known_end(&self) -> i64 {
        self.position.max(self.committed_end.unwrap_or(0))
    }

    /// Whether there is anything to read at all.
    pub(super) fn has_records(&self) -> bool {
        self.from < self.target
    }

    pub(super) fn remaining(&self) -> i64 {
        (self.target - self.position).max(0)
    }

    pub(super) fn total(&self) -> i64 {
        self.target - self.from
    }

    pub(super) fn unapplied_bytes(&self) -> usize {
        self.unapplied.bytes()
    }

    /// Applies what was read so far, and the position after it.
    fn load(&mut self, store: &mut dyn Store, at: Timestamp) -> Result<(), StoreError> {
        let mut entries = mem::take(&mut self.unapplied);
        entries.sort();
        store.load(TableBatch { table: self.table, entries, position: Some(self.position) }, at)?;
        reach(failpoint::RESTORE_READ);
        Ok(())
    }
}

impl Restorer {
    /// Reads some records of the changelogs and applies them.
    pub(super) fn read_changelogs(&mut self, wait: Duration) -> Result<(), AppError> {
        let is_reading =
            |one: &RestoringTask| one.phase == RestorePhase::ReadChangelogs && one.remaining() > 0;
        if self.tasks.iter().any(is_reading) {
            let fetched = match self.reader.poll(wait, RECORDS_MAX) {
                Ok(fetched) => fetched,
                Err(error) if error.kind() == ErrorKind::Retriable => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            for Fetched { partition, batch } in fetched {
                self.collect(&partition, &*batch)?;
            }
            self.load_full_tables()?;
        }
        self.note_positions()
    }

    /// Decodes the records of one changelog partition.
    fn collect(
        &mut self,
        partition: &TopicPartition,
        batch: &dyn RecordBatch,
    ) -> Result<(), AppError> {
        let Some(last) = batch.len().checked_sub(1) else { return Ok(()) };
        // A task that was just revoked may have records on their way.
        let Some(found) = find(&self.tasks, partition) else { return Ok(()) };
        if self.tasks[found.task].tables[found.table].is_stale {
            return self.rebuild_store(found.task, "it was not updated for too long");
        }
        let restoring = &mut self.tasks[found.task];
        let sub = &self.topology.sub_topologies()[restoring.assignment.task.sub_topology];
        let table = &mut restoring.tables[found.table];
        let spec = &sub.tables()[table.table];
        for index in 0..batch.len() {
            spec.restore(&batch.record(index), &mut table.unapplied)
                .map_err(|error| AppError::Restore { partition: partition.clone(), error })?;
        }
        table.position = batch.record(last).offset + 1;
        table.is_ahead |= table.committed_end.is_some_and(|end| end < table.position);
        restoring.restored += batch.len() as u64;
        self.status.add_restored(restoring.assignment.task, batch.len() as u64);
        Ok(())
    }

    /// Applies the entries of tables that have collected as many as allowed.
    fn load_full_tables(&mut self) -> Result<(), AppError> {
        let at = self.clock.now();
        let tables = self.tasks.iter().flat_map(|restoring| &restoring.tables);
        let reading = tables.filter(|table| table.remaining() > 0).count().max(1);
        let bytes_max = (self.bytes_max / reading).max(UNAPPLIED_MIN);
        for restoring in &mut self.tasks {
            let Some(store) = restoring.store.as_mut() else { continue };
            let is_full = |table: &&mut TableRestore| table.unapplied_bytes() >= bytes_max;
            for table in restoring.tables.iter_mut().filter(is_full) {
                table.load(&mut **store, at)?;
            }
        }
        Ok(())
    }

    /// Adopts the reader's positions, which also pass what it does not deliver: markers, aborted
    /// records, compacted ones. Tasks that have reached the ends continue.
    fn note_positions(&mut self) -> Result<(), AppError> {
        let now = self.clock.now();
        let reading = |one: &&mut RestoringTask| one.phase == RestorePhase::ReadChangelogs;
        for restoring in self.tasks.iter_mut().filter(reading) {
            for table in restoring.tables.iter_mut().filter(|table| table.remaining() > 0) {
                let read = self.reader.position(&table.changelog).unwrap_or(table.position);
                table.position = table.position.max(read);
            }
            let remaining = restoring.remaining();
            let total = restoring.total();
            let state = TaskState::Restoring { done: total - remaining, total };
            self.status.set_task_state(restoring.assignment.task, state, "reading changelogs");
            if remaining == 0 {
                load_remaining(restoring, now)?;
                restoring.phase = RestorePhase::Verify;
            }
        }
        Ok(())
    }
}

/// Applies what is left. Also stores the position of a table whose last part held no entries for
/// it, so that the next start does not read that part again.
fn load_remaining(restoring: &mut RestoringTask, at: Timestamp) -> Result<(), StoreError> {
    let Some(store) = restoring.store.as_mut() else { return Ok(()) };
    for table in &mut restoring.tables {
        if store.position(table.table)? != Some(table.position) {
            table.load(&mut **store, at)?;
        }
    }
    Ok(())
}

/// A table of a task that is restored, by their indices.
struct TableIndex {
    task: usize,
    table: usize,
}

/// The table that a changelog partition is read for.
fn find(tasks: &[RestoringTask], partition: &TopicPartition) -> Option<TableIndex> {
    let is_reading = |(_, one): &(usize, &RestoringTask)| one.phase == RestorePhase::ReadChangelogs;
    tasks.iter().enumerate().filter(is_reading).find_map(|(task, restoring)| {
        let table = restoring.tables.iter().position(|table| table.changelog == *partition)?;
        Some(TableIndex { task, table })
    })
}
