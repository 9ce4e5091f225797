//! The restorer: opens stores, brings tables up to date from their changelogs, finds out where
//! inputs go on. It runs beside processing; a task is given to its worker when it is ready. Each of
//! an instance's restorers has some of its tasks, and nothing in common with the others.
//!
//! The order is what makes a task see every committed effect: first the committed offsets, which
//! are only given out when no open transaction holds them; then the changelogs' ends, uncommitted
//! ones included; then everything committed up to those ends, waiting for transactions that are
//! still open.
//!
//! Offsets and changelogs are asked of different brokers, and one that has been replaced may not
//! know it yet and answer with what was. They check each other: the offsets say how far the
//! changelogs reached when they were committed. A changelog that ends before that, or that holds
//! something committed behind it, is a reason to ask again.

mod changelog;
mod look_ups;
mod retry_wait;

pub(crate) use changelog::STALE_MS;
pub(crate) use retry_wait::RetryWait;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use streams_core::{StoreProvider, Task, Topology};

use crate::clock::Clock;
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::globals::GlobalStores;
use crate::lease::LeaseState;
use crate::mailbox::Mailbox;
use crate::member::MemberMessage;
use crate::repartition_purge::Purger;
use crate::status::{MemoryOwner, MemoryStatus, STATUS_EVERY, StatusHandle, TaskState};
use crate::topics::SinkLimits;
use crate::transport::{ErrorKind, Group, Reader, TransportError};
use crate::worker::{RestoredTask, WorkerMessage};

use changelog::TableRestore;
use look_ups::{COORDINATORS_SETTLE, RestorePhase};
pub(crate) use look_ups::{RestoringTask, open_or_rebuild};

/// Changelog records taken from the log at a time.
const RECORDS_MAX: usize = 10_000;

/// How often a task that waits for global tables looks for them.
const GLOBALS: Duration = Duration::from_millis(10);

pub(crate) struct Restorer {
    pub(crate) index: usize,
    pub(crate) topology: Arc<Topology>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stores: Arc<dyn StoreProvider>,
    pub(crate) group: Arc<dyn Group>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) inbox: Receiver<RestoringTask>,
    pub(crate) workers: Vec<Mailbox<WorkerMessage>>,
    pub(crate) member: Mailbox<MemberMessage>,
    pub(crate) status: StatusHandle,
    pub(crate) openings: Vec<RestoringTask>,
    /// How long offsets are waited for.
    pub(crate) delay: RetryWait,
    /// How long offsets and changelogs have not fitted together.
    pub(crate) mismatch: RetryWait,
    /// Bytes of changelog entries that may be read and not applied yet.
    pub(crate) bytes_max: usize,
    /// When the status was told last how much memory it uses.
    pub(crate) memory_at: Duration,
    pub(crate) globals: Arc<GlobalStores>,
    pub(crate) limits: Arc<SinkLimits>,
    /// The first one has it.
    pub(crate) purger: Option<Purger>,
}

impl Restorer {
    /// Brings every task in hand a step further.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), AppError> {
        self.receive(wait);
        if let Some(purger) = &mut self.purger {
            purger.turn();
        }
        let stepped = self.step(wait);
        stepped.or_else(|error| self.rebuild(error))
    }

    fn step(&mut self, wait: Duration) -> Result<(), AppError> {
        self.drop_revoked()?;
        self.open_stores()?;
        self.look_up_offsets()?;
        self.look_up_ends()?;
        self.read(wait.min(Duration::from_millis(20)))?;
        self.verify_offsets()?;
        self.activate()?;
        self.report();
        Ok(())
    }

    /// What it and the stores have in memory.
    fn report(&mut self) {
        let now = self.clock.monotonic();
        if now < self.memory_at {
            return;
        }
        self.memory_at = now + STATUS_EVERY;
        let collected = self.openings.iter().map(RestoringTask::collected_bytes).sum::<usize>();
        let memory = MemoryStatus {
            restoring: collected + self.reader.waiting_bytes(),
            stores: self.stores.memory_bytes(),
            ..MemoryStatus::default()
        };
        self.status.set_memory(MemoryOwner::Restorer(self.index), memory);
    }

    /// A store that turned out to be corrupt is made anew; nothing else can be mended here.
    fn rebuild(&mut self, error: AppError) -> Result<(), AppError> {
        let damaged = error.corrupt_store();
        let is_damaged = |one: &RestoringTask| damaged == Some(&*one.assignment.store_name);
        let Some(index) = self.openings.iter().position(is_damaged) else { return Err(error) };
        tracing::error!(%error, "a store is corrupt: it is removed and rebuilt from its topics");
        self.rebuild_store(index, "it is corrupt")
    }

    /// Removes the store of an opening, to be rebuilt from its changelogs.
    fn rebuild_store(&mut self, index: usize, reason: &str) -> Result<(), AppError> {
        let opening = self.openings.swap_remove(index);
        tracing::warn!(task = %opening.assignment.task, reason,
            "a store is rebuilt from its changelogs");
        self.stop_reading(&opening)?;
        drop(opening.store);
        self.openings.push(RestoringTask::rebuilding(opening.assignment));
        Ok(())
    }

    /// With nothing in hand, or nothing but tasks that wait for global tables, waits for something
    /// to do.
    fn receive(&mut self, wait: Duration) {
        let nothing_to_do =
            self.openings.iter().all(|opening| opening.stage == RestorePhase::Ready);
        if nothing_to_do && !wait.is_zero() {
            let wait = if self.openings.is_empty() { wait } else { wait.min(GLOBALS) };
            self.openings.extend(self.inbox.recv_timeout(wait).ok());
        }
        self.openings.extend(self.inbox.try_iter());
    }

    /// Whether tables are as the offsets say. If something was committed behind what the offsets
    /// know of, they are not the last ones that were committed, and are asked for again.
    fn verify_offsets(&mut self) -> Result<(), AppError> {
        let now = self.clock.monotonic();
        let is_read = |one: &mut RestoringTask| one.stage == RestorePhase::Read;
        let read: Vec<_> = self.openings.extract_if(.., is_read).collect();
        for mut opening in read {
            self.stop_reading(&opening)?;
            let task = opening.assignment.task;
            let is_ahead = opening.tables.iter().any(|table| table.is_ahead);
            opening.stage = RestorePhase::Ready;
            if is_ahead && self.mismatch.waited(now) < COORDINATORS_SETTLE {
                (opening.stage, opening.tables) = (RestorePhase::Offsets, Vec::new());
                let why = "a changelog goes on behind what they know of";
                let error = TransportError::new(ErrorKind::Retriable, task.to_string(), why);
                self.mismatch.retry_or_fail(now, error, "the committed offsets are old")?;
            } else if is_ahead {
                tracing::warn!(%task, "its tables are ahead of the committed offsets: some records \
                     may be processed again");
            }
            self.openings.push(opening);
        }
        Ok(())
    }

    fn drop_revoked(&mut self) -> Result<(), AppError> {
        let gone = |opening: &mut RestoringTask| !opening.assignment.lease.is_held();
        let revoked: Vec<_> = self.openings.extract_if(.., gone).collect();
        for mut opening in revoked {
            self.stop_reading(&opening)?;
            let flushed = opening.store.as_mut().map_or(Ok(()), |store| store.flush());
            if let (Err(error), LeaseState::Revoked) = (flushed, opening.assignment.lease.state()) {
                tracing::warn!(task = %opening.assignment.task, %error, "a store was not flushed");
            }
            drop(opening.store);
            self.member.send(MemberMessage::Released(opening.assignment.task));
        }
        Ok(())
    }

    /// Gives tasks that are up to date to their workers.
    fn activate(&mut self) -> Result<(), AppError> {
        if !self.globals.are_ready() {
            let ready = self.openings.iter().filter(|opening| opening.stage == RestorePhase::Ready);
            ready.for_each(|one| {
                self.status.set_task_state(
                    one.assignment.task,
                    TaskState::Opening,
                    "global tables",
                );
            });
            return Ok(());
        }
        let is_ready = |one: &mut RestoringTask| one.stage == RestorePhase::Ready;
        let ready: Vec<_> = self.openings.extract_if(.., is_ready).collect();
        let mut ready = ready.into_iter();
        while let Some(mut opening) = ready.next() {
            let Some(store) = opening.store.take() else { continue };
            let mut task = Task::new(Arc::clone(&self.topology), opening.assignment.task, store);
            task.set_globals(Arc::clone(&self.globals) as _);
            task.set_limits(Arc::clone(&self.limits) as _);
            if let Err(error) = task.resume(&opening.resume, self.clock.moment()) {
                self.openings.push(opening);
                self.openings.extend(ready);
                return Err(error.into());
            }
            self.send_to_worker(opening, task);
        }
        if self.openings.is_empty() {
            self.mismatch.over();
        }
        Ok(())
    }

    fn send_to_worker(&mut self, opening: RestoringTask, task: Task) {
        let id = opening.assignment.task;
        let offsets: Vec<_> = opening.resume.iter().map(|resume| resume.offset).collect();
        let sub = &self.topology.sub_topologies()[id.sub_topology];
        let names = sub.tables().iter().map(|table| Arc::clone(table.name()));
        let ends = names.zip(opening.tables.iter().map(TableRestore::known_end)).collect();
        tracing::info!(task = %id, restored = opening.restored, ?offsets, "task ready");
        self.status.set_task_state(id, TaskState::Running, "up to date");
        reach(failpoint::RESTORE_READY);
        let assignment = opening.assignment;
        let worker = &self.workers[assignment.place.worker];
        let activation = RestoredTask { assignment, task, offsets, ends };
        worker.send(WorkerMessage::Activate(Box::new(activation)));
    }

    fn stop_reading(&mut self, opening: &RestoringTask) -> Result<(), AppError> {
        if !matches!(opening.stage, RestorePhase::Records | RestorePhase::Read) {
            return Ok(());
        }
        for table in opening.tables.iter().filter(|table| table.is_reading()) {
            self.reader.remove(&table.changelog)?;
        }
        Ok(())
    }
}
