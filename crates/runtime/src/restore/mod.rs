//! The restorer: opens stores, brings tables up to date from their changelogs, and finds out where
//! inputs go on. It runs beside processing, and passes a task to its worker when it is ready. Each
//! restorer of an instance has some of its tasks; restorers share nothing.
//!
//! The order makes a task see every committed effect:
//!
//! 1. the committed offsets, which the group gives out only when no open transaction holds them,
//! 2. the changelogs' ends, uncommitted records included,
//! 3. everything committed up to those ends; reading waits for transactions that are still open.
//!
//! Different brokers answer for offsets and for changelogs. One that was replaced, and does not
//! know it yet, may give an old answer. So the two check each other: the offsets say how far the
//! changelogs reached when they were committed. A changelog that ends before that, or that holds
//! something committed after it, is a reason to ask again.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the turn, the check of offsets against tables, the way to the worker |
//! | `restoring_task.rs` | a task on its way, and its phases |
//! | `look_ups.rs` | stores, offsets and ends |
//! | `changelog.rs` | reading changelogs into stores |
//! | `retry_wait.rs` | how long something has been retried, and when to log it |

mod changelog;
mod look_ups;
mod restoring_task;
mod retry_wait;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use streams_core::{StoreProvider, Task, Topology};

use crate::assignment::Assignment;
use crate::clock::Clock;
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::globals::GlobalStores;
use crate::lease::LeaseState;
use crate::messages::{
    ChangelogEnd, InputStart, Mailbox, MemberMessage, RequestedStore, RestoreRequest, RestoredTask,
    WorkerMessage,
};
use crate::repartition_purge::Purger;
use crate::status::{MemoryOwner, MemoryStatus, STATUS_EVERY, StatusHandle, TaskState};
use crate::topics::SinkLimits;
use crate::transport::{ErrorKind, Group, Reader, TransportError};

use look_ups::COORDINATORS_SETTLE;
use restoring_task::{RestorePhase, RestoringTask};
use retry_wait::RetryWait;

/// Changelog records taken from the log at a time.
const RECORDS_MAX: usize = 10_000;

/// How often a task that waits for global tables looks at them.
const GLOBALS_POLL: Duration = Duration::from_millis(10);

/// How long a read of changelogs may wait for records.
const READ_WAIT: Duration = Duration::from_millis(20);

/// What a restorer is made of.
pub(crate) struct RestorerParts {
    pub(crate) index: usize,
    pub(crate) topology: Arc<Topology>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stores: Arc<dyn StoreProvider>,
    pub(crate) group: Arc<dyn Group>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) channels: RestorerChannels,
    pub(crate) status: StatusHandle,
    /// Bytes of changelog entries that may be read and not applied yet.
    pub(crate) bytes_max: usize,
    pub(crate) globals: Arc<GlobalStores>,
    pub(crate) limits: Arc<SinkLimits>,
    /// One restorer of the instance has it.
    pub(crate) purger: Option<Purger>,
}

/// The components that a restorer talks to.
pub(crate) struct RestorerChannels {
    pub(crate) requests: Receiver<RestoreRequest>,
    pub(crate) workers: Vec<Mailbox<WorkerMessage>>,
    pub(crate) member: Mailbox<MemberMessage>,
}

pub(crate) struct Restorer {
    index: usize,
    topology: Arc<Topology>,
    clock: Arc<dyn Clock>,
    stores: Arc<dyn StoreProvider>,
    group: Arc<dyn Group>,
    reader: Box<dyn Reader>,
    channels: RestorerChannels,
    status: StatusHandle,
    bytes_max: usize,
    globals: Arc<GlobalStores>,
    limits: Arc<SinkLimits>,
    purger: Option<Purger>,
    tasks: Vec<RestoringTask>,
    /// For how long the log has not answered a look-up.
    offsets_wait: RetryWait,
    /// For how long offsets and changelogs have not fitted together.
    mismatch: RetryWait,
    /// When to report next how much memory the restorer uses.
    report_at: Duration,
}

impl Restorer {
    pub(crate) fn new(parts: RestorerParts) -> Self {
        Self {
            index: parts.index,
            topology: parts.topology,
            clock: parts.clock,
            stores: parts.stores,
            group: parts.group,
            reader: parts.reader,
            channels: parts.channels,
            status: parts.status,
            bytes_max: parts.bytes_max,
            globals: parts.globals,
            limits: parts.limits,
            purger: parts.purger,
            tasks: Vec::new(),
            offsets_wait: RetryWait::default(),
            mismatch: RetryWait::default(),
            report_at: Duration::ZERO,
        }
    }

    /// Brings every task a step further. Waits at most `wait` for something to do.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), AppError> {
        self.receive(wait);
        if let Some(purger) = &mut self.purger {
            purger.turn();
        }
        let stepped = self.step(wait);
        stepped.or_else(|error| self.recover(error))
    }

    fn step(&mut self, wait: Duration) -> Result<(), AppError> {
        self.drop_revoked()?;
        self.open_stores()?;
        self.look_up_offsets()?;
        self.look_up_ends()?;
        self.read_changelogs(wait.min(READ_WAIT))?;
        self.verify_tables()?;
        self.activate()?;
        self.report_memory();
        Ok(())
    }

    fn report_memory(&mut self) {
        let now = self.clock.monotonic();
        if now < self.report_at {
            return;
        }
        self.report_at = now + STATUS_EVERY;
        let unapplied = self.tasks.iter().map(RestoringTask::unapplied_bytes).sum::<usize>();
        let memory = MemoryStatus {
            restoring: unapplied + self.reader.waiting_bytes(),
            stores: self.stores.memory_bytes(),
            ..MemoryStatus::default()
        };
        self.status.set_memory(MemoryOwner::Restorer(self.index), memory);
    }

    /// Rebuilds a store that turned out to be corrupt. Every other error is fatal.
    fn recover(&mut self, error: AppError) -> Result<(), AppError> {
        let corrupt = error.corrupt_store();
        let is_corrupt = |one: &RestoringTask| corrupt == Some(&*one.assignment.store_name);
        let Some(index) = self.tasks.iter().position(is_corrupt) else { return Err(error) };
        tracing::error!(%error, "a store is corrupt; rebuilding it from its topics");
        self.rebuild_store(index, "it is corrupt")
    }

    /// Closes the store of a task, to be deleted and rebuilt from its changelogs.
    fn rebuild_store(&mut self, index: usize, reason: &str) -> Result<(), AppError> {
        let restoring = self.tasks.swap_remove(index);
        tracing::warn!(task = %restoring.assignment.task, reason,
            "a store is rebuilt from its changelogs");
        self.stop_reading(&restoring)?;
        // The store must be closed before it is opened again.
        drop(restoring.store);
        let assignment = restoring.assignment;
        self.tasks.push(RestoreRequest { assignment, store: RequestedStore::Corrupt }.into());
        Ok(())
    }

    /// Receives new tasks. Waits for one if there is nothing else to do, or only tasks that wait
    /// for global tables.
    fn receive(&mut self, wait: Duration) {
        let is_ready = |restoring: &RestoringTask| restoring.phase == RestorePhase::Ready;
        if self.tasks.iter().all(is_ready) && !wait.is_zero() {
            let wait = if self.tasks.is_empty() { wait } else { wait.min(GLOBALS_POLL) };
            let request = self.channels.requests.recv_timeout(wait).ok();
            self.tasks.extend(request.map(RestoringTask::from));
        }
        self.tasks.extend(self.channels.requests.try_iter().map(RestoringTask::from));
    }

    /// Checks tables against the offsets. If something was committed after what the offsets know
    /// of, they are outdated, and are asked for again.
    fn verify_tables(&mut self) -> Result<(), AppError> {
        let now = self.clock.monotonic();
        let is_read = |one: &mut RestoringTask| one.phase == RestorePhase::Verify;
        let read: Vec<_> = self.tasks.extract_if(.., is_read).collect();
        for mut restoring in read {
            self.stop_reading(&restoring)?;
            let task = restoring.assignment.task;
            let is_ahead = restoring.tables.iter().any(|table| table.is_ahead);
            restoring.phase = RestorePhase::Ready;
            if is_ahead && self.mismatch.waited(now) < COORDINATORS_SETTLE {
                restoring.phase = RestorePhase::LookUpOffsets;
                restoring.tables.clear();
                let cause = "a changelog has entries that were committed after them";
                let error = TransportError::new(ErrorKind::Retriable, task.to_string(), cause);
                self.mismatch.retry_or_fail(now, error, "the committed offsets are stale")?;
            } else if is_ahead {
                tracing::warn!(%task, "its tables are ahead of the committed offsets: some records \
                     may be processed again");
            }
            self.tasks.push(restoring);
        }
        Ok(())
    }

    fn drop_revoked(&mut self) -> Result<(), AppError> {
        let is_revoked = |restoring: &mut RestoringTask| !restoring.assignment.lease.is_held();
        let revoked: Vec<_> = self.tasks.extract_if(.., is_revoked).collect();
        for mut restoring in revoked {
            self.stop_reading(&restoring)?;
            let Assignment { task, lease, .. } = restoring.assignment;
            let flushed = restoring.store.as_mut().map_or(Ok(()), |store| store.flush());
            // The store of a lost task is of no use to this instance, flushed or not.
            if let (Err(error), LeaseState::Revoked) = (flushed, lease.state()) {
                tracing::warn!(%task, %error, "a store was not flushed");
            }
            // Closed before it is reported: the next owner may be in this process.
            drop(restoring.store);
            self.channels.member.send(MemberMessage::Released(task));
        }
        Ok(())
    }

    /// Passes tasks that are up to date to their workers.
    fn activate(&mut self) -> Result<(), AppError> {
        if !self.globals.are_ready() {
            for one in self.tasks.iter().filter(|one| one.phase == RestorePhase::Ready) {
                let task = one.assignment.task;
                self.status.set_task_state(task, TaskState::Opening, "global tables");
            }
            return Ok(());
        }
        let is_ready = |one: &mut RestoringTask| one.phase == RestorePhase::Ready;
        let ready: Vec<_> = self.tasks.extract_if(.., is_ready).collect();
        let mut ready = ready.into_iter();
        while let Some(mut restoring) = ready.next() {
            let Some(store) = restoring.store.take() else { continue };
            let mut task = Task::new(Arc::clone(&self.topology), restoring.assignment.task, store);
            task.set_globals(Arc::clone(&self.globals) as _);
            task.set_limits(Arc::clone(&self.limits) as _);
            if let Err(error) = task.resume(&restoring.resume, self.clock.moment()) {
                // They stay here: if the store is corrupt, this one is rebuilt.
                self.tasks.push(restoring);
                self.tasks.extend(ready);
                return Err(error.into());
            }
            self.send_to_worker(restoring, task);
        }
        if self.tasks.is_empty() {
            self.mismatch.reset();
        }
        Ok(())
    }

    fn send_to_worker(&mut self, restoring: RestoringTask, task: Task) {
        let RestoringTask { assignment, resume, tables, restored, .. } = restoring;
        let offsets: Vec<_> = resume.iter().map(|resume| resume.offset).collect();
        tracing::info!(task = %assignment.task, restored, ?offsets, "task ready");
        self.status.set_task_state(assignment.task, TaskState::Running, "up to date");
        reach(failpoint::RESTORE_READY);
        let inputs = assignment.inputs.iter().zip(&offsets).map(|(partition, offset)| InputStart {
            partition: partition.clone(),
            offset: *offset,
        });
        let changelogs =
            assignment.tables.iter().zip(&tables).map(|(table, restore)| ChangelogEnd {
                table: Arc::clone(&table.name),
                partition: table.changelog.clone(),
                end: restore.known_end(),
            });
        let inputs = inputs.collect();
        let changelogs = changelogs.collect();
        let worker = &self.channels.workers[assignment.threads.worker];
        let restored = RestoredTask { assignment, task, inputs, changelogs };
        worker.send(WorkerMessage::Activate(Box::new(restored)));
    }

    fn stop_reading(&mut self, restoring: &RestoringTask) -> Result<(), AppError> {
        if !matches!(restoring.phase, RestorePhase::ReadChangelogs | RestorePhase::Verify) {
            return Ok(());
        }
        for table in restoring.tables.iter().filter(|table| table.has_records()) {
            self.reader.remove(&table.changelog)?;
        }
        Ok(())
    }
}
