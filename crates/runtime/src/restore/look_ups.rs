//! A task on its way to its worker, and the look-ups at the beginning of that way.

use std::time::Duration;

use streams_core::{
    Resume, Start, Store, StoreError, StoreProvider, TableName, TaskError, TopicPartition,
};

use super::Restorer;
use super::changelog::TableRestore;
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::lease::Assignment;
use crate::status::TaskState;
use crate::transport::{CommittedOffset, ErrorKind, TransportError};

/// A task that is being opened.
pub(crate) struct RestoringTask {
    pub(crate) assignment: Assignment,
    pub(crate) store: Option<Box<dyn Store>>,
    pub(super) stage: RestorePhase,
    pub(super) resume: Vec<Resume>,
    pub(super) tables: Vec<TableRestore>,
    /// Changelog records applied.
    pub(super) restored: u64,
    /// Its store is damaged or stale, and must not be opened as it is.
    unusable: bool,
}

/// What an opening task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestorePhase {
    Store,
    Offsets,
    Ends,
    Records,
    Read,
    Ready,
}

impl RestoringTask {
    /// A task that was just assigned.
    pub(crate) fn new(assignment: Assignment) -> Self {
        let (resume, tables) = (Vec::new(), Vec::new());
        let (store, stage) = (None, RestorePhase::Store);
        Self { assignment, store, stage, resume, tables, restored: 0, unusable: false }
    }

    /// A task whose store is damaged or stale: it is made anew. The store must have been dropped.
    pub(crate) fn rebuilding(assignment: Assignment) -> Self {
        Self { unusable: true, ..Self::new(assignment) }
    }

    /// A task that is rewound: its store is open and at some commit.
    pub(crate) fn again(assignment: Assignment, store: Box<dyn Store>) -> Self {
        Self { store: Some(store), stage: RestorePhase::Offsets, ..Self::new(assignment) }
    }
}

/// Whoever led a changelog and was replaced learns of it within this time, or is not asked again.
const LEADERS_SETTLE: Duration = Duration::from_secs(10);

/// The same of who coordinated the group: longer, for to go on would be to do things twice. Tables
/// are ahead for good only after a crash under at-least-once.
pub(super) const COORDINATORS_SETTLE: Duration = Duration::from_secs(60);

/// How long one look-up may keep the restorer; there may be others to go on with.
const LOOK_UP: Duration = Duration::from_millis(500);

impl Restorer {
    pub(super) fn open_stores(&mut self) -> Result<(), AppError> {
        for opening in self.openings.iter_mut().filter(|one| one.stage == RestorePhase::Store) {
            let sub = &self.topology.sub_topologies()[opening.assignment.task.sub_topology];
            let names: Vec<_> = sub.tables().iter().map(|table| table.store_name()).collect();
            let name = &opening.assignment.store_name;
            if std::mem::take(&mut opening.unusable) {
                self.stores.destroy(name)?;
            }
            opening.store = Some(open_or_rebuild(&*self.stores, name, &names)?);
            opening.stage = RestorePhase::Offsets;
            reach(failpoint::RESTORE_OPENED);
        }
        Ok(())
    }

    /// One request for all tasks that wait for their offsets.
    pub(super) fn look_up_offsets(&mut self) -> Result<(), AppError> {
        let now = self.clock.monotonic();
        let waiting = self.openings.iter().filter(|one| one.stage == RestorePhase::Offsets);
        let partitions: Vec<TopicPartition> =
            waiting.flat_map(|one| one.assignment.partitions.iter().cloned()).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let mut committed = match self.group.committed(&partitions, LOOK_UP) {
            Ok(committed) => committed.into_iter(),
            Err(error) => {
                let what = "the committed offsets are not known yet";
                return self.delay.retry_or_fail(now, error, what);
            }
        };
        let (topology, reader) = (&self.topology, &mut self.reader);
        for opening in self.openings.iter_mut().filter(|one| one.stage == RestorePhase::Offsets) {
            let sub = &topology.sub_topologies()[opening.assignment.task.sub_topology];
            let inputs = opening.assignment.partitions.iter().zip(sub.sources());
            let found: Vec<_> = inputs.zip(committed.by_ref()).collect();
            let mut resume = Vec::new();
            for ((partition, source), committed) in found {
                match start(partition, source.start, committed, &mut **reader) {
                    Ok(one) => resume.push(one),
                    Err(error) => {
                        let what = "where a topic begins is not known yet";
                        return self.delay.retry_or_fail(now, error, what);
                    }
                }
            }
            opening.resume = resume;
            match beyond_the_end(opening, &mut **reader) {
                Ok(None) => {}
                // Whoever led it and was replaced may know an older end.
                Ok(Some((partition, _, end))) if self.mismatch.waited(now) < LEADERS_SETTLE => {
                    let why = format!("it ends at {end}, and a reader was further");
                    let error =
                        TransportError::new(ErrorKind::Retriable, partition.to_string(), why);
                    return self.mismatch.retry_or_fail(now, error, "a partition ends too early");
                }
                Ok(Some((partition, position, end))) => {
                    let task = opening.assignment.task;
                    let why = format!("a reader is at {position}, and the partition ends at {end}");
                    return Err(TaskError::Progress { task, partition, why }.into());
                }
                Err(error) => {
                    let what = "where a topic ends is not known yet";
                    return self.delay.retry_or_fail(now, error, what);
                }
            }
            opening.stage = RestorePhase::Ends;
            reach(failpoint::RESTORE_OFFSETS);
        }
        self.delay.over();
        Ok(())
    }

    pub(super) fn look_up_ends(&mut self) -> Result<(), AppError> {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        for opening in self.openings.iter_mut().filter(|one| one.stage == RestorePhase::Ends) {
            let Some(store) = opening.store.as_deref_mut() else { continue };
            let sub = &self.topology.sub_topologies()[opening.assignment.task.sub_topology];
            let changelogs = opening.assignment.changelogs.iter().zip(sub.tables());
            let mut tables = Vec::new();
            for (number, (changelog, table)) in changelogs.enumerate() {
                let bounds = match self.reader.bounds(changelog, LOOK_UP) {
                    Ok(bounds) => bounds,
                    Err(error) => {
                        let what = "where a changelog ends is not known yet";
                        return self.delay.retry_or_fail(elapsed, error, what);
                    }
                };
                let known_end = known_end(&opening.resume, table.name());
                let least = store.position(number)?.max(known_end).unwrap_or(0);
                if bounds.1 < least && self.mismatch.waited(elapsed) < LEADERS_SETTLE {
                    let why = format!("it ends at {}, and {least} is known of it", bounds.1);
                    let error =
                        TransportError::new(ErrorKind::Retriable, changelog.to_string(), why);
                    let what = "a changelog ends too early";
                    return self.mismatch.retry_or_fail(elapsed, error, what);
                }
                tables.push(TableRestore::plan(number, changelog, bounds, known_end, store, now)?);
            }
            for table in tables.iter().filter(|table| table.is_reading()) {
                self.reader.add(&table.changelog, table.position())?;
            }
            opening.tables = tables;
            opening.stage = RestorePhase::Records;
            reach(failpoint::RESTORE_ENDS);
            self.status.set_task_state(
                opening.assignment.task,
                TaskState::Restoring { done: 0, total: opening.left() },
                "reading changelogs",
            );
        }
        Ok(())
    }
}

/// Where a table's changelog ended when these offsets were committed.
fn known_end(resume: &[Resume], table: &str) -> Option<i64> {
    resume.iter().filter_map(|resume| resume.changelog_end(table)).max()
}

impl RestoringTask {
    /// Bytes of entries that were read and not applied yet.
    pub(super) fn collected_bytes(&self) -> usize {
        self.tables.iter().map(TableRestore::collected_bytes).sum()
    }

    /// Changelog offsets still to pass.
    pub(super) fn left(&self) -> i64 {
        self.tables.iter().map(TableRestore::left).sum()
    }
}

/// Opens a store. One that is corrupt is begun anew, to be read again from its topics.
pub(crate) fn open_or_rebuild(
    stores: &dyn StoreProvider,
    name: &str,
    tables: &[TableName],
) -> Result<Box<dyn Store>, StoreError> {
    match stores.open(name, tables) {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(store = name, %error,
                "a store is corrupt: it is removed and rebuilt from its topics");
            stores.destroy(name)?;
            stores.open(name, tables)
        }
        other => other,
    }
}

/// An input of which a reader is said to be further than there are records: partition, position and
/// end. Everything up to there would be passed over.
fn beyond_the_end(
    opening: &RestoringTask,
    reader: &mut dyn crate::transport::Reader,
) -> Result<Option<(TopicPartition, i64, i64)>, TransportError> {
    for (partition, resume) in opening.assignment.partitions.iter().zip(&opening.resume) {
        let Some(position) = resume.furthest() else { continue };
        let (_, end) = reader.bounds(partition, LOOK_UP)?;
        if position > end {
            return Ok(Some((partition.clone(), position, end)));
        }
    }
    Ok(None)
}

/// Where an input goes on: where the group committed, or where the source is to begin.
fn start(
    partition: &TopicPartition,
    start: Start,
    committed: CommittedOffset,
    reader: &mut dyn crate::transport::Reader,
) -> Result<Resume, crate::transport::TransportError> {
    let CommittedOffset { offset, metadata } = committed;
    if let Some(offset) = offset {
        return Ok(Resume { offset, metadata, committed: true });
    }
    let (begin, end) = reader.bounds(partition, LOOK_UP)?;
    let offset = if start == Start::Earliest { begin } else { end };
    Ok(Resume { offset, metadata, committed: false })
}
