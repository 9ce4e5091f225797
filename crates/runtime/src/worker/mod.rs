//! The worker: polls, steps tasks, commits. One thread with one producer and one fetcher for all
//! its tasks.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the turn: commands, fetch, step |
//! | `processing.rs` | whose turn it is, and for how many records |
//! | `input_waits.rs` | what the tasks know of the ends of their inputs, and which they wait for |
//! | `input_queues.rs` | what was fetched and waits in the tasks, and how much may |
//! | `producer.rs` | the producer, its transaction, and what an error of it means |
//! | `commit.rs` | the commit, step by step |
//! | `late_records_log.rs` | what it says about records that came too late |
//! | `slow_agents_log.rs` | what it says about agents that take long |
//! | `rewind.rs` | back to the last commit, and giving tasks up |

mod commit;
mod input_queues;
mod input_waits;
mod late_records_log;
mod processing;
mod producer;
mod rewind;
mod slow_agents_log;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::task::Waker;
use std::time::Duration;

use streams_core::{Effects, TableName, Task, TaskError, Timestamp};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::lease::Assignment;
use crate::mailbox::Mailbox;
use crate::member::MemberMessage;
use crate::repartition_purge::ConsumedOffsets;
use crate::restore::RestoringTask;
use crate::status::{InputProgress, MemoryOwner, MemoryStatus, STATUS_EVERY, StatusHandle};
use crate::transport::{ErrorKind, Fetcher, Group};

pub(crate) use input_queues::InputQueues;
use input_waits::InputWait;
pub(crate) use input_waits::StallDetector;
pub(crate) use late_records_log::LateRecordsLog;
use processing::TurnBudget;
pub(crate) use producer::{ProducerHealth, WorkerError, WorkerProducer};
pub(crate) use slow_agents_log::SlowAgentsLog;

/// What a worker is told.
pub(crate) enum WorkerMessage {
    /// Take over a task that is up to date.
    Activate(Box<RestoredTask>),
    /// Leases were revoked or lost: look.
    LeasesChanged,
}

/// A task that is ready to run.
pub(crate) struct RestoredTask {
    pub(crate) assignment: Assignment,
    pub(crate) task: Task,
    /// Where its inputs go on.
    pub(crate) offsets: Vec<i64>,
    /// Its tables, and where their changelogs end.
    pub(crate) ends: Vec<(TableName, i64)>,
}

/// A task that runs here.
pub(crate) struct ActiveTask {
    assignment: Assignment,
    task: Task,
    /// For each input whether its partition is paused because the task has enough to do.
    paused: Vec<bool>,
    /// For each input whether the task waits for it.
    waits: Vec<InputWait>,
    /// Its tables, and where their changelogs end with what this application has sent.
    ends: Vec<(TableName, i64)>,
    pace: TurnBudget,
}

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fetcher: Box<dyn Fetcher>,
    pub(crate) producer: WorkerProducer,
    pub(crate) group: Arc<dyn Group>,
    pub(crate) commands: Receiver<WorkerMessage>,
    pub(crate) restorers: Vec<Mailbox<RestoringTask>>,
    pub(crate) member: Mailbox<MemberMessage>,
    pub(crate) status: StatusHandle,
    pub(crate) waker: Waker,
    pub(crate) tasks: Vec<ActiveTask>,
    /// Which of them has the next turn.
    pub(crate) next_turn: usize,
    pub(crate) queues: InputQueues,
    pub(crate) effects: Effects,
    /// When the work in hand has to be committed, once there is any.
    pub(crate) commit_at: Option<Duration>,
    /// When the next commit may be, for the sake of the last one.
    pub(crate) commit_after: Duration,
    /// Since when a commit has had to wait for the membership to be known.
    pub(crate) membership_unknown_since: Option<Duration>,
    pub(crate) stall_detector: StallDetector,
    pub(crate) status_at: Duration,
    pub(crate) late: LateRecordsLog,
    pub(crate) slow_agents: SlowAgentsLog,
    pub(crate) consumed: ConsumedOffsets,
}

impl Worker {
    /// Makes the producer, which ends what an earlier life of this instance left open.
    pub(crate) fn start(&mut self) -> Result<(), AppError> {
        self.renew_producer()
    }

    /// The end, whatever the reason: nothing uncommitted may become visible.
    pub(crate) fn stop(&mut self) {
        let mut tasks = mem::take(&mut self.tasks);
        for ActiveTask { assignment, task, .. } in &mut tasks {
            self.count(assignment, task);
        }
        self.tasks = tasks;
        // Whatever is left to say, however short a time ago it said something.
        self.late.say(Duration::MAX);
        if let Err(error) = self.producer.end_transaction(ProducerHealth::Usable) {
            tracing::warn!(worker = self.index, %error, "the producer was not closed properly");
        }
    }

    /// One round: commands, fetch, process, commit. Waits at most `wait` for something to do.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), AppError> {
        self.read_commands()?;
        let result = self.work(wait);
        self.recover(result)?;
        self.report();
        Ok(())
    }

    /// What can end in a rewind.
    fn work(&mut self, wait: Duration) -> Result<(), WorkerError> {
        self.fetch(wait)?;
        self.process()?;
        self.commit_if_due()
    }

    fn read_commands(&mut self) -> Result<(), AppError> {
        let commands: Vec<_> = self.commands.try_iter().collect();
        for command in commands {
            match command {
                WorkerMessage::Activate(activation) => self.activate(*activation)?,
                WorkerMessage::LeasesChanged => self.release_revoked()?,
            }
        }
        Ok(())
    }

    fn activate(&mut self, activation: RestoredTask) -> Result<(), AppError> {
        let RestoredTask { assignment, mut task, offsets, ends } = activation;
        if !assignment.lease.is_held() {
            return self.close(assignment, task);
        }
        task.set_waker(self.waker.clone());
        for (partition, offset) in assignment.partitions.iter().zip(offsets) {
            self.fetcher.add(partition, Some(offset))?;
        }
        let paused = vec![false; assignment.partitions.len()];
        let waits = vec![InputWait::default(); assignment.partitions.len()];
        self.tasks.push(ActiveTask {
            assignment,
            task,
            paused,
            waits,
            ends,
            pace: TurnBudget::default(),
        });
        self.place(self.tasks.len() - 1);
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
                tracing::warn!(%error, "fetching failed, trying again");
                Ok(())
            }
            Err(error) => Err(WorkerError::Fatal(error.into())),
        }
    }

    /// Whether a commit is due that cannot be made yet.
    fn awaits_membership(&self) -> bool {
        self.membership_unknown_since.is_some()
    }

    /// Not longer than until the next commit or the next thing that a task wants to do.
    fn wait(&self, wait: Duration) -> Duration {
        let busy =
            !self.awaits_membership() && self.tasks.iter().any(|active| active.task.is_ready());
        if busy {
            return Duration::ZERO;
        }
        let now = self.clock.moment().elapsed_ms;
        let until = |at: Timestamp| Duration::from_millis(u64::try_from(at - now).unwrap_or(0));
        let wakeups = self.tasks.iter().filter_map(|active| active.task.next_wakeup()).map(until);
        let commit = self.commit_at.map(|at| at.saturating_sub(self.clock.monotonic()));
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

    fn report(&mut self) {
        let now = self.clock.monotonic();
        if now < self.status_at {
            return;
        }
        self.status_at = now + STATUS_EVERY;
        let progress: BTreeMap<_, _> = self.fetcher.progress().into_iter().collect();
        for active in &mut self.tasks {
            let metrics = active.assignment.carried + active.task.metrics();
            let inputs = active.input_progress(&progress, now);
            self.status.set_task_metrics(active.assignment.task, metrics, &inputs);
            self.late.take(&mut active.task);
        }
        self.late.say(now);
        self.slow_agents.say(self.tasks.iter().map(|active| &active.task));
        self.status.set_memory(MemoryOwner::Worker(self.index), self.memory());
    }

    /// The last look at what a task has done: it is about to go.
    fn count(&mut self, assignment: &Assignment, task: &mut Task) {
        let metrics = assignment.carried + task.metrics();
        let inputs: Vec<_> = task.positions().into_iter().map(InputProgress::at).collect();
        self.status.set_task_metrics(assignment.task, metrics, &inputs);
        self.late.take(task);
        self.late.say(self.clock.monotonic());
    }

    fn memory(&self) -> MemoryStatus {
        let (mut queued, mut uncommitted, mut hot) = (0, 0, 0);
        for ActiveTask { task, assignment, .. } in &self.tasks {
            let inputs = 0..assignment.partitions.len();
            queued += inputs.map(|input| task.queued_bytes(input)).sum::<usize>();
            uncommitted += task.overlay_bytes();
            hot += task.hot_bytes();
        }
        MemoryStatus {
            fetched: self.fetcher.waiting_bytes() + queued,
            uncommitted,
            sending: self.producer.in_flight_bytes(),
            stores: hot,
            ..MemoryStatus::default()
        }
    }
}

impl From<TaskError> for WorkerError {
    fn from(error: TaskError) -> Self {
        Self::Fatal(error.into())
    }
}
