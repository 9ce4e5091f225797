//! The status of an application, for programs to read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use streams_core::{TaskId, TaskMetrics, TopicPartition};

use crate::error::AppError;

/// A snapshot of everything that runs in this instance.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The state of the instance.
    pub state: AppState,
    /// The tasks of this instance, by name (`{sub-topology}_{partition}`).
    pub tasks: BTreeMap<String, TaskStatus>,
    /// The global tables of this instance, by name.
    pub globals: BTreeMap<String, GlobalStatus>,
    /// What all tasks of this instance have done since it was started, including tasks that it no
    /// longer has: these numbers only grow.
    pub totals: TaskCounters,
    /// Counters of the workers, added up.
    pub commits: CommitCounters,
    /// How much of the memory budget is in use, at most a moment ago.
    pub memory: MemoryStatus,
}

/// The state of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
#[non_exhaustive]
pub enum AppState {
    /// `run` was not called yet.
    #[default]
    New,
    /// It waits for the log, checks its topics, and joins the group.
    Starting,
    /// It is a member of the group, and has the tasks that the group has assigned to it. One
    /// without tasks is a spare.
    Member,
    /// It was asked to stop: it commits and closes its tasks.
    Stopping,
    /// `run` has returned, or its future was dropped.
    Ended {
        /// The text of the error that it returned.
        error: Option<String>,
    },
}

/// What tasks have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskCounters {
    /// Records processed, failed ones included.
    pub processed: u64,
    /// Records skipped by the error policy.
    pub skipped: u64,
    /// Records sent to a dead-letter topic.
    pub dead_lettered: u64,
    /// Records too late for every window.
    pub dropped_late: u64,
    /// Attempts at records that had failed before.
    pub retries: u64,
    /// Changelog records applied to bring tables up to date.
    pub restored: u64,
}

/// Memory in use, in bytes, for each part of the budget
/// ([`Config::memory`](crate::Config::memory)).
///
/// The process needs more for its code, its threads and its allocator, and about a third of a
/// megabyte for each open RocksDB database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// The whole budget.
    pub budget: usize,
    /// Records that were fetched and are not processed yet.
    pub fetched: usize,
    /// Table entries that are not committed yet.
    pub uncommitted: usize,
    /// Records that were sent and are not acknowledged yet; 0 with librdkafka's producer, which
    /// does not report them.
    pub sending: usize,
    /// Records of changelogs that were fetched and are not applied yet.
    pub restoring: usize,
    /// RocksDB's blocks and write buffers, and the cached values of tables.
    pub stores: usize,
}

impl MemoryStatus {
    /// All memory in use.
    pub fn used(&self) -> usize {
        self.fetched + self.uncommitted + self.sending + self.restoring + self.stores
    }

    fn add(&mut self, other: &Self) {
        self.fetched += other.fetched;
        self.uncommitted += other.uncommitted;
        self.sending += other.sending;
        self.restoring += other.restoring;
        self.stores += other.stores;
    }
}

/// The component that reports how much memory it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MemoryOwner {
    Restorer(usize),
    Worker(usize),
}

/// How often counters, lag and memory are written into the status.
pub(crate) const STATUS_EVERY: Duration = Duration::from_millis(200);

/// A global table of this instance.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GlobalStatus {
    /// Its topic.
    pub topic: Arc<str>,
    /// What it is doing.
    pub state: GlobalState,
    /// Records read since the instance started.
    pub read: u64,
    /// Records that were not rows of the table, and were skipped.
    pub skipped: u64,
}

/// What a global table is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GlobalState {
    /// It is being read up to where its topic ended when the instance started. No task runs before
    /// that.
    Restoring,
    /// It follows its topic.
    Following,
}

/// A task of this instance.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TaskStatus {
    /// What it is doing.
    pub state: TaskState,
    /// The reason for the state.
    pub reason: String,
    /// The worker thread that has it.
    pub worker: usize,
    /// Its inputs.
    pub inputs: Vec<InputStatus>,
    /// Records processed, failed ones included.
    pub processed: u64,
    /// Records skipped by the error policy.
    pub skipped: u64,
    /// Records sent to a dead-letter topic.
    pub dead_lettered: u64,
    /// Records too late for every window.
    pub dropped_late: u64,
    /// Attempts at records that had failed before.
    pub retries: u64,
    /// Records that failed and wait to be retried, and records that wait for those, at this moment.
    pub waiting: u64,
    /// Changelog records applied by this instance to bring the task's tables up to date.
    pub restored: u64,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
#[non_exhaustive]
pub enum TaskState {
    /// Its store is being opened and its offsets looked up.
    Opening,
    /// Its tables are being restored from their changelogs.
    Restoring {
        /// Changelog offsets passed since the restore began.
        done: i64,
        /// Changelog offsets to pass in all.
        total: i64,
    },
    /// It processes records.
    Running,
    /// The task is being given up.
    Closing,
}

/// An input of a task.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InputStatus {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to process.
    pub position: i64,
    /// Offsets between the position and the end of what the application may read, as the log last
    /// answered; 0 when everything is processed. `None` as long as the end is not known.
    pub lag: Option<i64>,
    /// Whether records of the task's other inputs have waited for this one for more than five
    /// seconds: its log has not answered whether it has older ones. The partition's leader may be
    /// away.
    pub awaited: bool,
}

/// What a worker knows of an input.
pub(crate) struct InputProgress {
    pub(crate) position: i64,
    pub(crate) lag: Option<i64>,
    pub(crate) awaited: bool,
}

impl InputProgress {
    /// For a task that is about to be closed.
    pub(crate) fn at(position: i64) -> Self {
        Self { position, lag: None, awaited: false }
    }
}

/// Counters of the workers' commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommitCounters {
    /// Commits that succeeded.
    pub commits: u64,
    /// How often work was dropped and repeated from the last commit.
    pub rewinds: u64,
    /// Producers that were replaced.
    pub producers_retired: u64,
}

/// A handle to an application's status. Cheap to clone; stays valid when the application has ended.
#[derive(Clone, Debug, Default)]
pub struct StatusHandle {
    status: Arc<Mutex<Status>>,
    memory: Arc<Mutex<BTreeMap<MemoryOwner, MemoryStatus>>>,
}

impl StatusHandle {
    /// The status at this moment.
    pub fn snapshot(&self) -> Status {
        let mut status = self.lock().clone();
        self.memory().values().for_each(|one| status.memory.add(one));
        status
    }

    /// Whether this instance is a member of the group and all of its tasks process records. A
    /// spare, which has none, counts as running. `false` before that, while it stops, and once
    /// `run` has returned.
    pub fn is_running(&self) -> bool {
        let status = self.lock();
        let mut tasks = status.tasks.values();
        status.state == AppState::Member && tasks.all(|task| task.state == TaskState::Running)
    }

    /// For an application that could not be created: it has ended with `error`.
    #[doc(hidden)]
    pub fn failed(&self, error: &AppError) {
        self.ended(Some(error.to_string()));
    }

    pub(crate) fn set_state(&self, state: AppState) {
        self.lock().state = state;
    }

    /// The group has assigned tasks to the instance, or none.
    pub(crate) fn set_member(&self) {
        let mut status = self.lock();
        if matches!(status.state, AppState::New | AppState::Starting) {
            status.state = AppState::Member;
        }
    }

    /// Nothing runs any more. The first call decides on the error.
    pub(crate) fn ended(&self, error: Option<String>) {
        let mut status = self.lock();
        if !matches!(status.state, AppState::Ended { .. }) {
            status.state = AppState::Ended { error };
        }
        status.tasks.clear();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<MemoryOwner, MemoryStatus>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_memory_budget(&self, bytes: usize) {
        self.lock().memory.budget = bytes;
    }

    /// Notes how much memory a component uses now.
    pub(crate) fn set_memory(&self, owner: MemoryOwner, memory: MemoryStatus) {
        self.memory().insert(owner, memory);
    }

    pub(crate) fn task_opened(&self, task: TaskId, worker: usize, inputs: &[TopicPartition]) {
        let inputs = inputs.iter().map(|partition| InputStatus {
            topic: Arc::clone(&partition.topic),
            partition: partition.partition,
            position: 0,
            lag: None,
            awaited: false,
        });
        let status = TaskStatus {
            state: TaskState::Opening,
            reason: "assigned".to_owned(),
            worker,
            inputs: inputs.collect(),
            processed: 0,
            skipped: 0,
            dead_lettered: 0,
            dropped_late: 0,
            retries: 0,
            waiting: 0,
            restored: 0,
        };
        self.lock().tasks.insert(task.to_string(), status);
    }

    pub(crate) fn set_task_state(&self, task: TaskId, state: TaskState, reason: &str) {
        self.update_task(task, |status| {
            status.state = state;
            if status.reason != reason {
                reason.clone_into(&mut status.reason);
            }
        });
    }

    pub(crate) fn add_restored(&self, task: TaskId, records: u64) {
        self.lock().totals.restored += records;
        self.update_task(task, |status| status.restored += records);
    }

    pub(crate) fn set_task_metrics(
        &self,
        task: TaskId,
        metrics: TaskMetrics,
        inputs: &[InputProgress],
    ) {
        let mut status = self.lock();
        let Status { tasks, totals, .. } = &mut *status;
        let Some(task) = tasks.get_mut(&task.to_string()) else { return };
        for (shown, total, now) in [
            (&mut task.processed, &mut totals.processed, metrics.processed),
            (&mut task.skipped, &mut totals.skipped, metrics.skipped),
            (&mut task.dead_lettered, &mut totals.dead_lettered, metrics.dead_lettered),
            (&mut task.dropped_late, &mut totals.dropped_late, metrics.dropped_late),
            (&mut task.retries, &mut totals.retries, metrics.retries),
        ] {
            *total += now.saturating_sub(*shown);
            *shown = now;
        }
        task.waiting = metrics.waiting;
        for (input, progress) in task.inputs.iter_mut().zip(inputs) {
            input.position = progress.position;
            input.lag = progress.lag.or(input.lag);
            input.awaited = progress.awaited;
        }
    }

    pub(crate) fn set_global_state(&self, name: &str, topic: &Arc<str>, state: GlobalState) {
        let mut status = self.lock();
        let table = status.globals.entry(name.to_owned()).or_insert_with(|| GlobalStatus {
            topic: Arc::clone(topic),
            state,
            read: 0,
            skipped: 0,
        });
        table.state = state;
    }

    pub(crate) fn add_global_read(&self, name: &str, records: u64) {
        if let Some(table) = self.lock().globals.get_mut(name) {
            table.read += records;
        }
    }

    pub(crate) fn add_global_skipped(&self, name: &str) {
        if let Some(table) = self.lock().globals.get_mut(name) {
            table.skipped += 1;
        }
    }

    /// The instance has no tasks any more.
    pub(crate) fn clear_tasks(&self) {
        self.lock().tasks.clear();
    }

    pub(crate) fn task_closed(&self, task: TaskId) {
        self.lock().tasks.remove(&task.to_string());
    }

    fn update_task(&self, task: TaskId, change: impl FnOnce(&mut TaskStatus)) {
        if let Some(status) = self.lock().tasks.get_mut(&task.to_string()) {
            change(status);
        }
    }
}
