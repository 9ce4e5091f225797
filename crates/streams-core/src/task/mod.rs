//! The task: one partition of a sub-topology, as a deterministic, synchronous state machine.
//!
//! Records and time go in, and effects come out. The caller drains the effects completely, then
//! steps again. The task owns its tables: what it writes stays in an overlay until the worker
//! reports that the commit has succeeded.

mod agents;
mod backlog;
mod commit;
mod dead_letter;
mod input;
mod late;
mod merge;
mod progress;
mod retries;
mod step;
mod ticks;

use std::mem;
use std::sync::Arc;
use std::task::Waker;

pub use agents::SlowAgent;
pub use commit::{InputOffset, TaskCommit};
pub use late::LateRecords;
pub use step::Step;

use crate::due::{PORTION, Portion};
use crate::effect::Effects;
use crate::error::{Cause, Failure, FailureKind, TaskError};
use crate::global::{Globals, NoGlobals};
use crate::limits::{DefaultLimits, TopicLimits};
use crate::moment::Moment;
use crate::operator_state::OperatorStates;
use crate::record::{Headers, RecordBatch, Timestamp, TopicPartition};
use crate::state::tables::Tables;
use crate::store::Store;
use crate::stream_clock::StreamClock;
use crate::task_context::{Origin, TaskContext};
use crate::task_id::TaskId;
use crate::task_metrics::TaskMetrics;
use crate::tick::Ticking;
use crate::topology::{SubTopology, Topology};
use input::InputQueue;
use progress::Progress;
use retries::Retries;

/// One partition of a sub-topology.
pub struct Task {
    topology: Arc<Topology>,
    id: TaskId,
    inputs: Vec<InputQueue>,
    /// Always present, except while an agent is polled with it.
    cx: Option<Box<TaskContext>>,
    waker: Waker,
    /// Something must be committed although no record was processed, such as a first offset.
    touched: bool,
    /// How many due entries a step processes at most.
    portion_max: usize,
    retries: Retries,
    /// The progress of its ticks, in the order of the sub-topology's.
    ticks: Vec<Ticking>,
}

/// Where an input resumes; see [`Task::resume`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The next offset to process.
    pub offset: i64,
    /// The metadata that was committed with it; empty if there was none.
    pub metadata: String,
    /// Whether the group committed this offset. Otherwise the source's [`Start`](crate::Start) gave
    /// it, and it is committed at the first opportunity so that a restart begins there too.
    pub committed: bool,
}

impl Resume {
    /// The next offset that operators have not processed. It may be ahead of the committed one, by
    /// what an agent has not acknowledged.
    pub fn processed(&self) -> i64 {
        // Invalid metadata stops the task when it resumes.
        let progress = Progress::parse(&self.metadata).unwrap_or_default();
        progress.position(Progress::OPERATORS).unwrap_or(self.offset).max(self.offset)
    }

    /// Where the changelog of a table ended at that commit, if it was noted.
    pub fn changelog_end(&self, table: &str) -> Option<i64> {
        Progress::parse(&self.metadata).ok()?.changelog(table)
    }

    /// How far the furthest reader of the input was at that commit, if it was ahead of the offset.
    /// The end of the partition is not before it.
    pub fn furthest(&self) -> Option<i64> {
        Progress::parse(&self.metadata).ok()?.furthest()
    }
}

impl Task {
    /// Creates a task over an opened and restored store. [`resume`](Task::resume) comes next.
    pub fn new(topology: Arc<Topology>, id: TaskId, store: Box<dyn Store>) -> Self {
        let sub = &topology.sub_topologies[id.sub_topology];
        let inputs = sub.sources.iter().map(InputQueue::new).collect();
        let tables = Tables::new(store, Arc::clone(&sub.tables), sub.local.clone());
        let clocks = vec![StreamClock::new(StreamClock::UNKNOWN, 0); topology.clock_names.len()];
        let cx = TaskContext {
            tables,
            effects: Effects::new(),
            globals: Arc::new(NoGlobals),
            limits: Arc::new(DefaultLimits),
            clocks: clocks.into(),
            states: OperatorStates::new(&topology.states),
            now: 0,
            elapsed: 0,
            nothing_until: Timestamp::MIN,
            max_ahead_ms: None,
            origin: Origin::default(),
            headers: Headers::new(),
            latest: 0,
            stop: None,
            metrics: TaskMetrics::default(),
            late: None,
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
            plan: crate::window::Plan::default(),
            collected: Vec::new(),
            portion: Portion::default(),
            portion_max: PORTION,
        };
        let retries = Retries::new(&topology, sub);
        Self {
            id,
            inputs,
            cx: Some(Box::new(cx)),
            waker: Waker::noop().clone(),
            touched: false,
            portion_max: usize::MAX,
            retries,
            ticks: Vec::new(),
            topology,
        }
    }

    /// The task's identity.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Starts the task, or restarts it after an abort, at what the group committed. There is one
    /// entry per input, in the order of the sub-topology's sources. Everything uncommitted is
    /// dropped, including queued records and agents in flight.
    pub fn resume(&mut self, inputs: &[Resume], now: impl Into<Moment>) -> Result<(), TaskError> {
        if inputs.len() != self.inputs.len() {
            return Err(self.other(format!(
                "resumed with {} offsets for {} inputs",
                inputs.len(),
                self.inputs.len()
            )));
        }
        self.discard();
        let topology = Arc::clone(&self.topology);
        let sub = &topology.sub_topologies[self.id.sub_topology];
        let mut times = vec![StreamClock::UNKNOWN; topology.clock_names.len()];
        for ((input, source), resume) in self.inputs.iter_mut().zip(&sub.sources).zip(inputs) {
            let progress = Progress::parse(&resume.metadata).map_err(|why| {
                let partition = TopicPartition::new(Arc::clone(&source.topic), self.id.partition);
                TaskError::Progress { task: self.id, partition, why }
            })?;
            for &clock in &sub.clocks {
                times[clock] = times[clock].max(progress.time(&topology.clock_names[clock]));
            }
            input.resume(resume.offset, &progress, source);
        }
        self.touched = inputs.iter().any(|resume| !resume.committed);
        let now = now.into();
        let cx = self.cx_mut();
        cx.set_moment(now);
        // What the log has for it is not yet known.
        cx.nothing_until = Timestamp::MIN;
        let elapsed = cx.elapsed;
        cx.clocks = times.into_iter().map(|time| StreamClock::new(time, elapsed)).collect();
        cx.states = OperatorStates::new(&topology.states);
        // The clocks come first: tables and hooks derive from them what has expired and what was
        // closed. Agents come last, because their code may read all of it.
        cx.tables.follow(&cx.clocks);
        self.resume_operators(inputs);
        self.resume_retries(now)?;
        self.resume_ticks(inputs);
        self.start_agents()
    }

    /// Queues fetched records. Records before the input's position are skipped, because a fetch may
    /// overlap a rewind.
    pub fn enqueue(&mut self, input: usize, batch: Box<dyn RecordBatch>) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.enqueue(batch);
        }
    }

    /// How many records of an input wait to be processed.
    pub fn queued(&self, input: usize) -> usize {
        self.inputs.get(input).map_or(0, InputQueue::queued)
    }

    /// Approximately how much memory the waiting records use, in bytes.
    pub fn queued_bytes(&self, input: usize) -> usize {
        self.inputs.get(input).map_or(0, InputQueue::queued_bytes)
    }

    /// Sets where the global tables are. Call it once, if the topology has global tables.
    pub fn set_globals(&mut self, globals: Arc<dyn Globals>) {
        self.cx_mut().globals = globals;
    }

    /// Sets what the sink topics accept. Call it once, before [`resume`](Self::resume). Default:
    /// Kafka's defaults.
    pub fn set_limits(&mut self, limits: Arc<dyn TopicLimits>) {
        let cx = self.cx_mut();
        cx.tables.set_limits(&*limits);
        cx.limits = limits;
    }

    /// Sets the waker to call when something wakes an agent; [`advance`](Self::advance) then runs
    /// the agent.
    pub fn set_waker(&mut self, waker: Waker) {
        let agents = self.inputs.iter_mut().flat_map(|input| &mut input.agents);
        agents.for_each(|slot| slot.set_task(&waker));
        self.waker = waker;
    }

    /// Returns the next offset to process of each input.
    pub fn positions(&self) -> Vec<i64> {
        self.inputs.iter().map(InputQueue::position).collect()
    }

    /// Returns when the first wait of a record ends: of an incomplete batch, a call or a retry. It
    /// is [`next_wakeup`](Self::next_wakeup) without what time alone makes due: punctuations,
    /// windows, ticks.
    pub fn next_wait_over(&self) -> Option<Timestamp> {
        self.agents_deadline().into_iter().chain(self.next_retry()).min()
    }

    /// Returns what it has done since it was created.
    pub fn metrics(&self) -> TaskMetrics {
        TaskMetrics { waiting: self.retries.waiting(), ..self.cx().metrics }
    }

    /// Approximately how many bytes of uncommitted table entries it has in memory.
    pub fn overlay_bytes(&self) -> usize {
        self.cx().tables.overlay_bytes()
    }

    /// Approximately how many bytes of values it caches in front of its store.
    pub fn hot_bytes(&self) -> usize {
        self.cx().tables.hot_bytes()
    }

    /// The store, for a flush.
    pub fn store_mut(&mut self) -> &mut dyn Store {
        self.cx_mut().tables.store_mut()
    }

    /// Returns the store. Everything uncommitted is dropped.
    pub fn into_store(mut self) -> Box<dyn Store> {
        self.discard();
        self.take_cx().tables.into_store()
    }

    /// Lends the context a buffer for effects. What agents sent before they first asked for a
    /// record goes there first.
    fn lend_effects<T>(&mut self, effects: &mut Effects, work: impl FnOnce(&mut Self) -> T) -> T {
        if !self.cx().effects.is_empty() {
            effects.append(&mut self.cx_mut().effects);
            self.touched = true;
        }
        mem::swap(&mut self.cx_mut().effects, effects);
        let result = work(self);
        mem::swap(&mut self.cx_mut().effects, effects);
        result
    }

    fn discard(&mut self) {
        let cx = self.cx_mut();
        cx.stop = None;
        cx.tables.discard();
        cx.effects.clear();
    }

    fn sub_topology(&self) -> &SubTopology {
        &self.topology.sub_topologies[self.id.sub_topology]
    }

    #[expect(clippy::expect_used, reason = "the context is away only while an agent is polled")]
    fn cx(&self) -> &TaskContext {
        self.cx.as_ref().expect("the context is there between polls")
    }

    #[expect(clippy::expect_used, reason = "the context is away only while an agent is polled")]
    fn cx_mut(&mut self) -> &mut TaskContext {
        self.cx.as_mut().expect("the context is there between polls")
    }

    #[expect(clippy::expect_used, reason = "the context is away only while an agent is polled")]
    fn take_cx(&mut self) -> Box<TaskContext> {
        self.cx.take().expect("the context is there between polls")
    }

    fn other(&self, cause: String) -> TaskError {
        TaskError::Other { task: self.id, cause }
    }

    /// Returns what is wrong with the record, or an error if the task must stop.
    fn record_cause(&mut self, failure: Failure) -> Result<Cause, TaskError> {
        // User code may have hidden an error that must stop the task, also by a panic.
        match self.cx_mut().stop.take().unwrap_or(failure).kind() {
            FailureKind::Record(cause) => Ok(cause),
            kind => Err(self.stopped(kind.into())),
        }
    }

    /// Creates an error outside of any record, or where no policy applies.
    fn stopped(&self, failure: Failure) -> TaskError {
        match failure.kind() {
            FailureKind::Record(cause) => self.other(cause.to_string()),
            FailureKind::Store(error) => TaskError::Store { task: self.id, error },
            FailureKind::Stored(error) => TaskError::Stored { task: self.id, error },
        }
    }
}
