//! The first phases of a restore: the store is opened, the group is asked for its offsets, and the
//! log for the ends of the changelogs.

use std::collections::BTreeMap;
use std::time::Duration;

use streams_core::{Resume, Source, Start, TaskError, TopicPartition};

use super::Restorer;
use super::changelog::{ChangelogBounds, TableRestore};
use super::restoring_task::{RestorePhase, RestoringTask};
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::status::TaskState;
use crate::stores::open_or_rebuild;
use crate::transport::{self, CommittedOffset, ErrorKind, Reader, TransportError};

/// A former leader of a partition learns within this time that it was replaced. What it says after
/// that is believed.
const LEADERS_SETTLE: Duration = Duration::from_secs(10);

/// The same for a former coordinator of the group. It is longer, because believing one means to
/// process records twice. Only after a crash under at-least-once are tables ahead for good.
pub(super) const COORDINATORS_SETTLE: Duration = Duration::from_secs(60);

/// How long one look-up may block the restorer, which may have other tasks to go on with.
const LOOK_UP_TIMEOUT: Duration = Duration::from_millis(500);

type CommittedOffsets = BTreeMap<TopicPartition, CommittedOffset>;

impl Restorer {
    pub(super) fn open_stores(&mut self) -> Result<(), AppError> {
        for restoring in &mut self.tasks {
            let RestorePhase::OpenStore { is_corrupt } = restoring.phase else { continue };
            let sub = &self.topology.sub_topologies()[restoring.assignment.task.sub_topology];
            let names: Vec<_> = sub.tables().iter().map(|table| table.store_name()).collect();
            let name = &restoring.assignment.store_name;
            if is_corrupt {
                self.stores.destroy(name)?;
                // Should opening fail, the next attempt need not delete it again.
                restoring.phase = RestorePhase::OpenStore { is_corrupt: false };
            }
            restoring.store = Some(open_or_rebuild(&*self.stores, name, &names)?);
            restoring.phase = RestorePhase::LookUpOffsets;
            reach(failpoint::RESTORE_OPENED);
        }
        Ok(())
    }

    /// Asks for the committed offsets, with one request for all tasks that wait for theirs.
    pub(super) fn look_up_offsets(&mut self) -> Result<(), AppError> {
        let now = self.clock.monotonic();
        let waiting = self.tasks.iter().filter(|one| one.phase == RestorePhase::LookUpOffsets);
        let partitions: Vec<TopicPartition> =
            waiting.flat_map(|one| one.assignment.inputs.iter().cloned()).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let committed = match self.group.committed(&partitions, LOOK_UP_TIMEOUT) {
            Ok(committed) => committed,
            Err(error) => {
                let what = "the committed offsets are not known yet";
                return self.offsets_wait.retry_or_fail(now, error, what);
            }
        };
        let committed = partitions.into_iter().zip(committed).collect();
        for index in 0..self.tasks.len() {
            let is_waiting = self.tasks[index].phase == RestorePhase::LookUpOffsets;
            if is_waiting && !self.resume_inputs(index, &committed, now)? {
                return Ok(());
            }
        }
        self.offsets_wait.reset();
        Ok(())
    }

    /// Decides where the inputs of a task resume. Returns `false` if the log has to be asked again.
    fn resume_inputs(
        &mut self,
        index: usize,
        committed: &CommittedOffsets,
        now: Duration,
    ) -> Result<bool, AppError> {
        let restoring = &mut self.tasks[index];
        let task = restoring.assignment.task;
        let sources = self.topology.sub_topologies()[task.sub_topology].sources();
        let reader = &mut *self.reader;
        match resume_points(restoring, sources, committed, reader) {
            Ok(resume) => restoring.resume = resume,
            Err(error) => {
                let what = "where a topic begins is not known yet";
                return self.offsets_wait.retry_or_fail(now, error, what).map(|()| false);
            }
        }
        let beyond = match position_beyond_end(restoring, reader) {
            Ok(beyond) => beyond,
            Err(error) => {
                let what = "where a topic ends is not known yet";
                return self.offsets_wait.retry_or_fail(now, error, what).map(|()| false);
            }
        };
        if let Some(PositionBeyondEnd { partition, position, end }) = beyond {
            // A former leader may know an older end: ask again, for a while.
            if self.mismatch.waited(now) < LEADERS_SETTLE {
                let cause = format!("it ends at offset {end}, and {position} was committed");
                let error = TransportError::new(ErrorKind::Retriable, partition.to_string(), cause);
                let what = "a partition ends before a committed position";
                return self.mismatch.retry_or_fail(now, error, what).map(|()| false);
            }
            let why = format!("a reader is at {position}, and the partition ends at {end}");
            return Err(TaskError::Progress { task, partition, why }.into());
        }
        restoring.phase = RestorePhase::LookUpEnds;
        reach(failpoint::RESTORE_OFFSETS);
        Ok(true)
    }

    /// Asks for the ends of the changelogs. Only once a task's offsets are known: a commit writes
    /// its changelog records before its offsets, so the ends cover all that goes with them.
    pub(super) fn look_up_ends(&mut self) -> Result<(), AppError> {
        for index in 0..self.tasks.len() {
            let is_waiting = self.tasks[index].phase == RestorePhase::LookUpEnds;
            if is_waiting && !self.begin_reading(index)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins to read the changelogs of a task. Returns `false` if their ends have to be asked for
    /// again.
    fn begin_reading(&mut self, index: usize) -> Result<bool, AppError> {
        let Some(tables) = self.plan_tables(index)? else { return Ok(false) };
        for table in tables.iter().filter(|table| table.has_records()) {
            self.reader.add(&table.changelog, table.position())?;
        }
        let restoring = &mut self.tasks[index];
        restoring.tables = tables;
        restoring.phase = RestorePhase::ReadChangelogs;
        reach(failpoint::RESTORE_ENDS);
        let state = TaskState::Restoring { done: 0, total: restoring.remaining() };
        self.status.set_task_state(restoring.assignment.task, state, "reading changelogs");
        Ok(true)
    }

    fn plan_tables(&mut self, index: usize) -> Result<Option<Vec<TableRestore>>, AppError> {
        let date = self.clock.now();
        let now = self.clock.monotonic();
        let restoring = &mut self.tasks[index];
        let Some(store) = restoring.store.as_deref_mut() else { return Ok(None) };
        let mut tables = Vec::new();
        for (number, table) in restoring.assignment.tables.iter().enumerate() {
            let (begin, end) = match self.reader.bounds(&table.changelog, LOOK_UP_TIMEOUT) {
                Ok(bounds) => bounds,
                Err(error) => {
                    let what = "where a changelog ends is not known yet";
                    return self.offsets_wait.retry_or_fail(now, error, what).map(|()| None);
                }
            };
            let committed_end = committed_end(&restoring.resume, &table.name);
            let least = store.position(number)?.max(committed_end).unwrap_or(0);
            // A former leader may know an older end: ask again, for a while.
            if end < least && self.mismatch.waited(now) < LEADERS_SETTLE {
                let cause = format!("it ends at offset {end}, and was committed up to {least}");
                let context = table.changelog.to_string();
                let error = TransportError::new(ErrorKind::Retriable, context, cause);
                let what = "a changelog ends before what was committed";
                return self.mismatch.retry_or_fail(now, error, what).map(|()| None);
            }
            let bounds = ChangelogBounds { begin, end, committed_end };
            tables.push(TableRestore::plan(number, &table.changelog, bounds, store, date)?);
        }
        Ok(Some(tables))
    }
}

/// Where a table's changelog ended when these offsets were committed, as their metadata says.
fn committed_end(resume: &[Resume], table: &str) -> Option<i64> {
    resume.iter().filter_map(|resume| resume.changelog_end(table)).max()
}

/// Where the inputs of a task resume, in the order of its sources.
fn resume_points(
    restoring: &RestoringTask,
    sources: &[Source],
    committed: &CommittedOffsets,
    reader: &mut dyn Reader,
) -> transport::Result<Vec<Resume>> {
    let mut resume = Vec::new();
    for (partition, source) in restoring.assignment.inputs.iter().zip(sources) {
        let Some(CommittedOffset { offset, metadata }) = committed.get(partition).cloned() else {
            let cause = "the group's answer does not contain it";
            return Err(TransportError::new(ErrorKind::Retriable, partition.to_string(), cause));
        };
        let is_committed = offset.is_some();
        let offset = match offset {
            Some(offset) => offset,
            None => start_offset(partition, source.start, reader)?,
        };
        resume.push(Resume { offset, metadata, committed: is_committed });
    }
    Ok(resume)
}

/// Where an input starts for which the group has committed nothing.
fn start_offset(
    partition: &TopicPartition,
    start: Start,
    reader: &mut dyn Reader,
) -> transport::Result<i64> {
    let (begin, end) = reader.bounds(partition, LOOK_UP_TIMEOUT)?;
    Ok(if start == Start::Earliest { begin } else { end })
}

/// A committed position after the end of its partition. Resuming there would skip every record up
/// to it.
struct PositionBeyondEnd {
    partition: TopicPartition,
    position: i64,
    end: i64,
}

fn position_beyond_end(
    restoring: &RestoringTask,
    reader: &mut dyn Reader,
) -> transport::Result<Option<PositionBeyondEnd>> {
    for (partition, resume) in restoring.assignment.inputs.iter().zip(&restoring.resume) {
        let Some(position) = resume.furthest() else { continue };
        let (_, end) = reader.bounds(partition, LOOK_UP_TIMEOUT)?;
        if position > end {
            return Ok(Some(PositionBeyondEnd { partition: partition.clone(), position, end }));
        }
    }
    Ok(None)
}
