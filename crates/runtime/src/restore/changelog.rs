//! Reading changelogs into stores.

use std::collections::BTreeMap;
use std::time::Duration;

use streams_core::{
    RecordBatch, Store, StoreBatch, StoreError, TableBatch, TableSpec, Timestamp, TopicPartition,
};

use super::opening::{Opening, Stage};
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
    position: i64,
    target: i64,
    /// Left alone for so long that nothing of its changelog may be missing.
    is_stale: bool,
}

/// A table that was left alone for longer than this is not brought up to date but made anew: the
/// tombstones of what was deleted meanwhile may be gone from the changelog, which keeps them for
/// `delete.retention.ms`, a day.
pub(crate) const STALE_MS: i64 = 12 * 60 * 60 * 1000;

impl TableRestore {
    /// Decides from where to read. `bounds` are the changelog's first offset and its end,
    /// uncommitted records included.
    pub(super) fn plan(
        table: usize,
        changelog: &TopicPartition,
        bounds: (i64, i64),
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
        let (from, target) = (from.unwrap_or(begin), end);
        Ok(Self { table, changelog: changelog.clone(), from, position: from, target, is_stale })
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether there is anything to read at all.
    pub(super) fn is_reading(&self) -> bool {
        self.from < self.target
    }

    pub(super) fn left(&self) -> i64 {
        (self.target - self.position).max(0)
    }
}

impl Restorer {
    /// Reads a portion of the changelogs and applies it.
    pub(super) fn read(&mut self, wait: Duration) -> Result<(), AppError> {
        let reading = |opening: &Opening| opening.stage == Stage::Records && opening.left() > 0;
        if self.openings.iter().any(reading) {
            let fetched = match self.reader.poll(wait, RECORDS_MAX) {
                Ok(fetched) => fetched,
                Err(error) if error.kind() == ErrorKind::Retriable => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            for Fetched { partition, batch } in fetched {
                self.apply(&partition, &*batch)?;
            }
        }
        self.note_positions()
    }

    fn apply(
        &mut self,
        partition: &TopicPartition,
        batch: &dyn RecordBatch,
    ) -> Result<(), AppError> {
        let Some((index, table)) = find(&self.openings, partition) else { return Ok(()) };
        let Some(last) = batch.len().checked_sub(1) else { return Ok(()) };
        if self.openings[index].tables[table].is_stale {
            return self.begin_anew(index, "it was left alone for too long");
        }
        let opening = &mut self.openings[index];
        let sub = &self.topology.sub_topologies()[opening.assignment.task.sub_topology];
        let number = opening.tables[table].table;
        let entries = net_entries(&sub.tables()[number], batch)
            .map_err(|error| AppError::Restore { partition: partition.clone(), error })?;
        let position = batch.record(last).offset + 1;
        let tables = vec![TableBatch { table: number, entries, position: Some(position) }];
        let at = self.clock.now();
        if let Some(store) = opening.store.as_mut() {
            store.apply(&StoreBatch { tables, at })?;
        }
        reach(failpoint::RESTORE_READ);
        opening.tables[table].position = position;
        opening.restored += batch.len() as u64;
        self.status.restored(opening.assignment.task, batch.len() as u64);
        Ok(())
    }

    /// Where the reader is: it also passes what it does not deliver (markers, aborted and compacted
    /// records).
    fn note_positions(&mut self) -> Result<(), AppError> {
        let now = self.clock.now();
        for opening in self.openings.iter_mut().filter(|one| one.stage == Stage::Records) {
            for table in opening.tables.iter_mut().filter(|table| table.left() > 0) {
                let read = self.reader.position(&table.changelog).unwrap_or(table.position);
                table.position = table.position.max(read);
            }
            let left = opening.left();
            let total = opening.tables.iter().map(|table| table.target - table.from).sum();
            let state = TaskState::Restoring { done: total - left, total };
            self.status.changed(opening.assignment.task, state, "reading changelogs");
            if left == 0 {
                keep_positions(opening, now)?;
                opening.stage = Stage::Ready;
            }
        }
        Ok(())
    }
}

/// Writes down how far tables have come whose last part held nothing for them, so that it is not
/// read again.
fn keep_positions(opening: &mut Opening, at: Timestamp) -> Result<(), StoreError> {
    let Some(store) = opening.store.as_mut() else { return Ok(()) };
    let mut tables = Vec::new();
    for table in &opening.tables {
        if store.position(table.table)? != Some(table.position) {
            let position = Some(table.position);
            tables.push(TableBatch { table: table.table, entries: Vec::new(), position });
        }
    }
    if tables.is_empty() { Ok(()) } else { store.apply(&StoreBatch { tables, at }) }
}

/// The opening and the table, by their indices, that a changelog partition is read for.
fn find(openings: &[Opening], partition: &TopicPartition) -> Option<(usize, usize)> {
    let reading = |(_, opening): &(usize, &Opening)| opening.stage == Stage::Records;
    openings.iter().enumerate().filter(reading).find_map(|(index, opening)| {
        let table = opening.tables.iter().position(|table| table.changelog == *partition)?;
        Some((index, table))
    })
}

/// The last entry of each key, sorted by key.
fn net_entries(
    spec: &TableSpec,
    batch: &dyn RecordBatch,
) -> Result<Vec<streams_core::StoreEntry>, streams_core::RestoreError> {
    let mut entries = BTreeMap::new();
    for index in 0..batch.len() {
        spec.restore(&batch.record(index), &mut entries)?;
    }
    Ok(entries.into_iter().collect())
}
