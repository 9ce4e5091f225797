//! The worker: polls, steps tasks, commits. One thread with one producer and one fetcher for all
//! its tasks.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the turn: messages, fetching, the report |
//! | `running_tasks.rs` | the tasks, and which input reads which partition |
//! | `processing.rs` | the turns of the tasks, and how many records each may take |
//! | `input_waits.rs` | what the tasks know of the ends of their inputs, and which they wait for |
//! | `input_queues.rs` | how many fetched records may wait in the tasks |
//! | `producer.rs` | the producer and its transaction |
//! | `commit_schedule.rs` | when a commit is due, and what it waits for |
//! | `commit.rs` | the commit, step by step |
//! | `error.rs` | why uncommitted work is lost, and what happens to the producer |
//! | `rewind.rs` | back to the last commit, and giving tasks up |
//! | `late_records_log.rs`, `slow_agents_log.rs` | what is logged once, or now and then |

mod commit;
mod commit_schedule;
mod error;
mod input_queues;
mod input_waits;
mod late_records_log;
mod processing;
mod producer;
mod rewind;
mod running_tasks;
mod slow_agents_log;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::task::Waker;
use std::time::Duration;

use streams_core::{Effects, Task, Timestamp};

use crate::assignment::Assignment;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::messages::{Mailbox, MemberMessage, RestoreRequest, RestoredTask, WorkerMessage};
use crate::repartition_purge::ConsumedOffsets;
use crate::status::{InputProgress, MemoryOwner, MemoryStatus, STATUS_EVERY, StatusHandle};
use crate::transport::{ErrorKind, Fetcher, Group};

use commit_schedule::CommitSchedule;
use error::{ProducerHealth, WorkerError};
use input_waits::StallDetector;
use late_records_log::LateRecordsLog;
pub(crate) use producer::WorkerProducer;
use running_tasks::{RunningTask, RunningTasks};
use slow_agents_log::SlowAgentsLog;

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) index: usize,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fetcher: Box<dyn Fetcher>,
    pub(crate) producer: WorkerProducer,
    pub(crate) group: Arc<dyn Group>,
    pub(crate) channels: WorkerChannels,
    pub(crate) status: StatusHandle,
    /// Wakes the worker's thread for an agent that can go on.
    pub(crate) waker: Waker,
    pub(crate) consumed: ConsumedOffsets,
}

/// The components that a worker talks to.
pub(crate) struct WorkerChannels {
    pub(crate) messages: Receiver<WorkerMessage>,
    pub(crate) restorers: Vec<Mailbox<RestoreRequest>>,
    pub(crate) member: Mailbox<MemberMessage>,
}

pub(crate) struct Worker {
    index: usize,
    config: Config,
    clock: Arc<dyn Clock>,
    fetcher: Box<dyn Fetcher>,
    producer: WorkerProducer,
    group: Arc<dyn Group>,
    channels: WorkerChannels,
    status: StatusHandle,
    waker: Waker,
    consumed: ConsumedOffsets,
    tasks: RunningTasks,
    /// What the tasks want sent and is not sent yet.
    effects: Effects,
    commits: CommitSchedule,
    stall_detector: StallDetector,
    reports: Reports,
}

/// What the worker reports now and then.
#[derive(Default)]
struct Reports {
    /// When the status is written next.
    status_at: Duration,
    late_records: LateRecordsLog,
    slow_agents: SlowAgentsLog,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        Self {
            index: parts.index,
            config: parts.config,
            clock: parts.clock,
            fetcher: parts.fetcher,
            producer: parts.producer,
            group: parts.group,
            channels: parts.channels,
            status: parts.status,
            waker: parts.waker,
            consumed: parts.consumed,
            tasks: RunningTasks::default(),
            effects: Effects::new(),
            commits: CommitSchedule::default(),
            stall_detector: StallDetector::default(),
            reports: Reports::default(),
        }
    }

    /// Opens the producer, which ends a transaction that an earlier process of this instance left
    /// open.
    pub(crate) fn start(&mut self) -> Result<(), AppError> {
        self.renew_producer()
    }

    /// The end, whatever the reason: nothing uncommitted may become visible.
    pub(crate) fn stop(&mut self) {
        let mut tasks = self.tasks.take_all();
        for RunningTask { assignment, task, .. } in &mut tasks {
            self.report_last(assignment, task);
        }
        self.reports.late_records.log();
        if let Err(error) = self.producer.abort_or_retire(ProducerHealth::Usable) {
            tracing::warn!(worker = self.index, %error, "the producer was not closed properly");
        }
    }

    /// One round: messages, fetching, processing, a commit if it is due. Waits at most `wait` for
    /// something to do.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), AppError> {
        // Messages come first, so that a revoked or lost lease is seen before this turn processes
        // or commits.
        self.read_messages()?;
        let result = self.work(wait);
        self.recover(result)?;
        self.report_if_due();
        Ok(())
    }

    /// The part of a turn that can end in a rewind.
    fn work(&mut self, wait: Duration) -> Result<(), WorkerError> {
        self.fetch(wait)?;
        self.process()?;
        self.commit_if_due()
    }

    fn read_messages(&mut self) -> Result<(), AppError> {
        // Those that are there now: what comes while they are handled may wait for a turn.
        let messages: Vec<_> = self.channels.messages.try_iter().collect();
        for message in messages {
            match message {
                WorkerMessage::Activate(restored) => self.activate(*restored)?,
                WorkerMessage::LeasesChanged => self.release_revoked()?,
            }
        }
        Ok(())
    }

    fn activate(&mut self, mut restored: RestoredTask) -> Result<(), AppError> {
        // It may have been revoked on its way here.
        if !restored.assignment.lease.is_held() {
            return self.close(restored.assignment, restored.task);
        }
        restored.task.set_waker(self.waker.clone());
        for input in &restored.inputs {
            self.fetcher.add(&input.partition, Some(input.offset))?;
        }
        self.tasks.push(RunningTask::from(restored));
        Ok(())
    }

    fn fetch(&mut self, wait: Duration) -> Result<(), WorkerError> {
        if self.has_enough_queued() {
            return Ok(());
        }
        let wait = self.wait(wait);
        match self.fetcher.poll(wait, self.config.poll_records_max) {
            Ok(fetched) => fetched.into_iter().try_for_each(|fetched| self.enqueue(fetched)),
            Err(error) if error.kind() == ErrorKind::Retriable => {
                tracing::warn!(%error, "records could not be fetched; retrying");
                Ok(())
            }
            Err(error) => Err(WorkerError::Fatal(error.into())),
        }
    }

    /// How long fetching may wait: not longer than until the next commit, or until a task has
    /// something to do.
    fn wait(&self, wait: Duration) -> Duration {
        let is_busy = !self.commits.awaits_membership()
            && self.tasks.iter().any(|running| running.task.is_ready());
        if is_busy {
            return Duration::ZERO;
        }
        let now = self.clock.moment().elapsed_ms;
        let until = |at: Timestamp| Duration::from_millis(u64::try_from(at - now).unwrap_or(0));
        let wakeups = self.tasks.iter().filter_map(|running| running.task.next_wakeup()).map(until);
        let commit = self.commits.next_attempt();
        let commit = commit.map(|at| at.saturating_sub(self.clock.monotonic()));
        wakeups.chain(commit).chain(self.idle_ends_in()).fold(wait, Duration::min)
    }

    /// Sends what the tasks asked for, inside the transaction.
    fn send_effects(&mut self) -> Result<(), WorkerError> {
        if !self.effects.is_empty() {
            self.producer.send_all(&self.effects)?;
            self.effects.clear();
        }
        Ok(())
    }

    fn report_if_due(&mut self) {
        let now = self.clock.monotonic();
        if now < self.reports.status_at {
            return;
        }
        self.reports.status_at = now + STATUS_EVERY;
        let progress: BTreeMap<_, _> = self.fetcher.progress().into_iter().collect();
        for running in self.tasks.iter_mut() {
            let metrics = running.assignment.carried + running.task.metrics();
            let inputs = running.input_progress(&progress, now);
            self.status.set_task_metrics(running.assignment.task, metrics, &inputs);
            self.reports.late_records.take(&mut running.task);
        }
        self.reports.late_records.log_if_due(now);
        self.reports.slow_agents.log(self.tasks.iter().map(|running| &running.task));
        self.status.set_memory(MemoryOwner::Worker(self.index), self.memory());
    }

    /// Reports what a task has done that is about to be closed or restored.
    fn report_last(&mut self, assignment: &Assignment, task: &mut Task) {
        let metrics = assignment.carried + task.metrics();
        let inputs: Vec<_> = task.positions().into_iter().map(InputProgress::at).collect();
        self.status.set_task_metrics(assignment.task, metrics, &inputs);
        self.reports.late_records.take(task);
        self.reports.late_records.log_if_due(self.clock.monotonic());
    }

    fn memory(&self) -> MemoryStatus {
        let mut memory = MemoryStatus {
            fetched: self.fetcher.waiting_bytes() + self.tasks.queued_bytes(),
            sending: self.producer.in_flight_bytes(),
            ..MemoryStatus::default()
        };
        for RunningTask { task, .. } in self.tasks.iter() {
            memory.uncommitted += task.overlay_bytes();
            memory.stores += task.hot_bytes();
        }
        memory
    }
}
