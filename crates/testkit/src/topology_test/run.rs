//! The tasks of a topology test, and the loop that runs them until nothing is left to do.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use state::MemoryStores;
use streams_core::{
    Effects, Entries, ErrorPolicy, Globals, Moment, OwnedBatch, OwnedRecord, RecordBatch, Resume,
    Store, StoreBatch, StoreError, StoreProvider, TableBatch, Task, TaskId, TaskMetrics, Timestamp,
    TopicPartition, Topology,
};

use super::TestError;
use super::limits::TestTopicLimits;
use super::log::TestLog;
use crate::dice::Dice;
use crate::virtual_time::VirtualTime;

/// How many times in a row agents may wake themselves at one moment without progress.
const FRUITLESS_MAX: u32 = 100_000;

pub(super) struct Tasks {
    tasks: Vec<Task>,
    /// The uncommitted effects of each task: an agent may work on one record during many calls of
    /// the test.
    effects: Vec<Effects>,
    /// The offset up to which each task has been fed, per input.
    fetched: Vec<Vec<i64>>,
    resumed: bool,
    failed: Vec<String>,
    resume: Vec<Vec<Resume>>,
    broken: Option<TestError>,
    globals: Arc<GlobalTableRows>,
    limits: Arc<TestTopicLimits>,
    /// The virtual time of the agents, for as long as the process lives.
    time: Option<Arc<VirtualTime>>,
}

/// Called at each commit: whether to abort it.
pub(super) type Abort = Box<dyn FnMut(TaskId) -> bool + Send>;

/// The environment of the tasks.
pub(super) struct TaskWorld<'a> {
    pub(super) topology: &'a Topology,
    pub(super) log: &'a mut TestLog,
    pub(super) now: Moment,
    pub(super) abort: &'a mut Option<Abort>,
    pub(super) dice: &'a mut Option<Dice>,
    pub(super) portion: Option<usize>,
}

impl Tasks {
    /// Creates tasks whose stores kept `kept` eighths of the committed state, and restores the rest
    /// from the changelogs in `log`.
    pub(super) fn new(
        topology: &Arc<Topology>,
        log: &TestLog,
        limits: &Arc<TestTopicLimits>,
        kept: usize,
        now: Moment,
    ) -> Self {
        let (time, broken) = match VirtualTime::new(elapsed(now.elapsed_ms)) {
            Ok(time) => (Some(Arc::new(time)), None),
            Err(error) => (None, Some(TestError::Runtime(error))),
        };
        let mut tasks = Self {
            tasks: Vec::new(),
            effects: Vec::new(),
            fetched: Vec::new(),
            resumed: false,
            failed: Vec::new(),
            resume: Vec::new(),
            broken,
            globals: Arc::default(),
            limits: Arc::clone(limits),
            time,
        };
        for (number, sub) in topology.sub_topologies().iter().enumerate() {
            let widths = sub.sources().iter().map(|source| log.partitions(&source.topic));
            for partition in 0..widths.max().unwrap_or(0) {
                let id = TaskId { sub_topology: number, partition };
                match restored(topology, id, log, kept) {
                    Ok(store) => {
                        tasks.add(Task::new(Arc::clone(topology), id, store), log, topology)
                    }
                    Err(error) => tasks.broken = Some(error),
                }
            }
        }
        tasks
    }

    fn add(&mut self, mut task: Task, log: &TestLog, topology: &Topology) {
        task.set_globals(Arc::clone(&self.globals) as _);
        task.set_limits(Arc::clone(&self.limits) as _);
        if let Some(time) = &self.time {
            task.set_waker(time.waker());
        }
        let resume = committed(task.id(), topology, log);
        self.fetched.push(resume.iter().map(|resume| resume.offset).collect());
        self.resume.push(resume);
        self.effects.push(Effects::new());
        self.tasks.push(task);
    }

    /// Tells the tasks that the limits have changed.
    pub(super) fn limit(&mut self) {
        for task in &mut self.tasks {
            task.set_limits(Arc::clone(&self.limits) as _);
        }
    }

    /// Lets time pass up to `until`, or to the first moment at which a retry is due or an agent is
    /// woken. Returns that moment.
    pub(super) fn pass(&mut self, now: Timestamp, until: Timestamp) -> Timestamp {
        let Some(time) = &self.time else { return until };
        let due = self.tasks.iter().filter_map(Task::next_wait_over);
        let until = due.filter(|at| *at > now).fold(until, Timestamp::min);
        i64::try_from(time.pass(elapsed(until), true).as_millis()).unwrap_or(until)
    }

    /// Fetches, steps and commits until nothing moves any more.
    pub(super) fn run(&mut self, world: &mut TaskWorld<'_>) -> Result<(), TestError> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let time = self.time.clone();
        let _entered = time.as_ref().and_then(|time| time.enter());
        if !std::mem::replace(&mut self.resumed, true) {
            for (task, resume) in self.tasks.iter_mut().zip(&self.resume) {
                task.resume(resume, world.now)?;
            }
        }
        self.globals.refresh(world.topology, world.log)?;
        let mut fruitless = 0;
        loop {
            let mut moved = false;
            if let Some(time) = &time {
                time.take_woken();
            }
            for (index, records_max) in turns(self.tasks.len(), world.dice) {
                moved |= self.turn(index, records_max, world)?;
            }
            // With random turns it may be that no task had one.
            if !moved {
                for index in 0..self.tasks.len() {
                    moved |= self.turn(index, usize::MAX, world)?;
                }
            }
            // Tasks that agents spawned may wake them too.
            let is_woken = time.as_ref().is_some_and(|time| time.settle());
            let is_ready = is_woken || self.tasks.iter().any(Task::is_ready);
            fruitless = if moved { 0 } else { fruitless + 1 };
            if !moved && (!is_ready || fruitless > FRUITLESS_MAX) {
                return if is_ready { Err(TestError::Restless) } else { Ok(()) };
            }
        }
    }

    fn turn(
        &mut self,
        index: usize,
        records_max: usize,
        world: &mut TaskWorld<'_>,
    ) -> Result<bool, TestError> {
        let mut moved = self.fetch(index, records_max, world);
        let failed_before = self.failed.len();
        let task = &mut self.tasks[index];
        let effects = &mut self.effects[index];
        let failed = task.advance(world.now, effects)?;
        self.failed.extend(failed.iter().map(ToString::to_string));
        if let Some(entries) = world.portion {
            task.set_portion(entries);
        }
        loop {
            let step = task.step(world.now, 1, effects)?;
            self.failed.extend(step.failed.iter().map(ToString::to_string));
            // Commit in between.
            let stops = world.portion.is_some();
            moved |= step.more && stops;
            if !step.more || stops {
                break;
            }
        }
        if task.is_dirty() {
            moved = true;
            if world.abort.as_mut().is_some_and(|abort| abort(task.id())) {
                self.failed.truncate(failed_before);
                self.rewind(index, world)?;
            } else {
                commit(task, world, effects)?;
            }
        }
        Ok(moved)
    }

    /// Goes back to the last commit; the stores know nothing later.
    fn rewind(&mut self, index: usize, world: &TaskWorld<'_>) -> Result<(), TestError> {
        self.effects[index].clear();
        let task = &mut self.tasks[index];
        let resume = committed(task.id(), world.topology, world.log);
        self.fetched[index] = resume.iter().map(|resume| resume.offset).collect();
        Ok(task.resume(&resume, world.now)?)
    }

    /// Feeds a task at most this many records of each input.
    fn fetch(&mut self, index: usize, records_max: usize, world: &TaskWorld<'_>) -> bool {
        let TaskWorld { topology, log, .. } = world;
        let task = &mut self.tasks[index];
        let fetched = &mut self.fetched[index];
        let id = task.id();
        let mut any = false;
        for (input, source) in
            topology.sub_topologies()[id.sub_topology].sources().iter().enumerate()
        {
            let mut records = log.from(&source.topic, id.partition, fetched[input]);
            let at_end = records.len() <= records_max;
            records.truncate(records_max);
            fetched[input] += records.len() as i64;
            any |= !records.is_empty();
            task.enqueue(input, Box::new(OwnedBatch::from(records)));
            task.observe(input, at_end, !at_end);
        }
        any
    }

    pub(super) fn table_value(
        &mut self,
        topology: &Topology,
        name: &str,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, TestError> {
        for task in &mut self.tasks {
            let tables = topology.sub_topologies()[task.id().sub_topology].tables();
            let Some(table) = tables.iter().position(|table| &**table.name() == name) else {
                continue;
            };
            let mut value = Vec::new();
            if task.store_mut().get(table, &tables[table].store_key(key), &mut value)? {
                // The store keeps a timestamp of eight bytes in front.
                return Ok(Some(value.split_off(8.min(value.len()))));
            }
        }
        Ok(None)
    }

    /// All entries of a table as its stores have them.
    pub(super) fn table_entries(
        &mut self,
        topology: &Topology,
        name: &str,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, TestError> {
        let mut entries = Vec::new();
        for task in &mut self.tasks {
            let tables = topology.sub_topologies()[task.id().sub_topology].tables();
            let Some(table) = tables.iter().position(|table| &**table.name() == name) else {
                continue;
            };
            let first = entries.len();
            let mut is_indexed = false;
            task.store_mut().scan(table, &[], None, &mut |key, value| {
                if tables[table].is_index(key) {
                    is_indexed = true;
                } else {
                    entries.push((tables[table].changelog_key(key), value.to_vec()));
                }
                ControlFlow::Continue(())
            })?;
            // The store orders its keys by length first.
            if is_indexed {
                entries[first..].sort();
            }
        }
        Ok(entries)
    }

    /// Descriptions of the inputs that are not acknowledged up to their end.
    pub(super) fn unfinished(&self, topology: &Topology, log: &TestLog) -> Vec<String> {
        let mut unfinished = Vec::new();
        for id in self.tasks.iter().map(Task::id) {
            for source in topology.sub_topologies()[id.sub_topology].sources() {
                let from = log.committed(&source.topic, id.partition).offset;
                let left = log.from(&source.topic, id.partition, from).len();
                let input = TopicPartition::new(Arc::clone(&source.topic), id.partition);
                if left > 0 {
                    unfinished.push(format!("{left} of {input}, from offset {from} on"));
                }
            }
        }
        unfinished
    }

    pub(super) fn metrics(&self) -> TaskMetrics {
        self.tasks.iter().fold(TaskMetrics::default(), |sum, task| sum + task.metrics())
    }

    pub(super) fn failed(&self) -> &[String] {
        &self.failed
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let _entered = self.time.as_ref().and_then(|time| time.enter());
        // Dropping an agent's future may need the runtime.
        self.tasks.clear();
    }
}

/// The rows of all global tables, read from the log.
#[derive(Default)]
pub(super) struct GlobalTableRows(Mutex<Vec<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl GlobalTableRows {
    /// Reads the topics of all global tables again.
    pub(super) fn refresh(&self, topology: &Topology, log: &TestLog) -> Result<(), TestError> {
        let mut tables = Vec::new();
        for source in topology.globals() {
            let mut rows = BTreeMap::new();
            for partition in 0..log.partitions(source.topic()) {
                let batch = OwnedBatch::from(log.from(source.topic(), partition, 0));
                for index in 0..batch.len() {
                    match source.row(partition, &batch.record(index)) {
                        Ok((key, Some(value))) => drop(rows.insert(key.into(), value.into())),
                        Ok((key, None)) => drop(rows.remove(&*key)),
                        Err(_) if *source.policy() == ErrorPolicy::Skip => {}
                        Err(error) => return Err(TestError::Global(error)),
                    }
                }
            }
            tables.push(rows);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tables;
        Ok(())
    }
}

impl Globals for GlobalTableRows {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = tables.get(table).and_then(|rows| rows.get(key));
        value.extend_from_slice(row.map_or(&[], Vec::as_slice));
        Ok(row.is_some())
    }
}

/// The tasks that have their turn, and for how many records: all tasks without a limit, or random
/// ones.
fn turns(tasks: usize, dice: &mut Option<Dice>) -> Vec<(usize, usize)> {
    match dice {
        None => (0..tasks).map(|task| (task, usize::MAX)).collect(),
        Some(dice) => (0..tasks).map(|_| (dice.below(tasks), 1 + dice.below(3))).collect(),
    }
}

/// Commits a task: effects into the log with their offsets, then the store.
fn commit(
    task: &mut Task,
    world: &mut TaskWorld<'_>,
    effects: &mut Effects,
) -> Result<(), TestError> {
    let TaskWorld { topology, log, .. } = world;
    let commit = task.prepare_commit(effects)?;
    for effect in effects.iter() {
        let record = OwnedRecord {
            offset: 0,
            timestamp: effect.timestamp,
            key: effect.key.map(Into::into),
            value: effect.value.map(Into::into),
            headers: effect.headers.cloned().unwrap_or_default(),
        };
        log.append(effect.topic, effect.partition, record);
    }
    effects.clear();
    let id = task.id();
    let sub = &topology.sub_topologies()[id.sub_topology];
    for offset in commit.offsets {
        let topic = &sub.sources()[offset.input].topic;
        log.commit(topic, id.partition, offset.offset, offset.metadata);
    }
    let ends = sub
        .tables()
        .iter()
        .map(|table| Some(log.from(table.changelog(), id.partition, 0).len() as i64));
    let positions: Vec<_> = ends.collect();
    task.committed(&positions, 0)?;
    Ok(())
}

/// Milliseconds since the test began.
fn elapsed(millis: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The positions from which a task's inputs resume.
fn committed(id: TaskId, topology: &Topology, log: &TestLog) -> Vec<Resume> {
    let sources = topology.sub_topologies()[id.sub_topology].sources().iter();
    sources.map(|source| log.committed(&source.topic, id.partition)).collect()
}

/// A store that kept `kept` eighths of the changelogs, restored with the rest.
fn restored(
    topology: &Topology,
    id: TaskId,
    log: &TestLog,
    kept: usize,
) -> Result<Box<dyn Store>, TestError> {
    let tables = topology.sub_topologies()[id.sub_topology].tables();
    let names: Vec<_> = tables.iter().map(|table| table.store_name()).collect();
    let mut store = MemoryStores::new().open(&id.to_string(), &names)?;
    for (table, spec) in tables.iter().enumerate() {
        let mut old = log.from(spec.changelog(), id.partition, 0);
        let end = old.len();
        let tail = old.split_off(end * kept.min(8) / 8);
        for (records, position) in [(old, end - tail.len()), (tail, end)] {
            let batch = OwnedBatch::from(records);
            let mut entries = Entries::new();
            for index in 0..batch.len() {
                spec.restore(&batch.record(index), &mut entries)?;
            }
            entries.sort();
            let position = Some(position as i64);
            let tables = vec![TableBatch { table, entries, position }];
            store.apply(&StoreBatch { tables, at: 0 })?;
        }
    }
    Ok(store)
}
