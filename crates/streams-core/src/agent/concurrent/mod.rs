//! Several concurrent futures of one agent, for one task.
//!
//! Each future gets the records of some keys. Their sends and writes become the task's in the order
//! of the records: what is finished out of order waits in [`Outcomes`].
//!
//! Tables end up as if one future had processed the records in order. A future reads the task's
//! tables and its own writes. When a record is released, later records that have read a row that it
//! wrote are processed again, because they should have seen that write.

mod outcomes;
mod readers;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::StartedFor;
use super::link::{Acknowledged, FinishedWork};
use super::runner::Agent;
use super::running::{Polled, RecordSource, Refused, Running, RunningAgent};
use crate::error::{Cause, Failure};
use crate::record::{Headers, OwnedRecord, RawRecord, Timestamp};
use crate::task_context::{Origin, TaskContext};
use crate::window::millis;
use outcomes::{Outcomes, RecordOutcome};

pub(super) struct Concurrent<K, V> {
    agent: Arc<Agent<K, V>>,
    workers: Vec<AgentFuture<K, V>>,
    limit_ms: Option<i64>,
    outcomes: Outcomes,
    task: StartedFor,
    hasher: ahash::RandomState,
}

struct AgentFuture<K, V> {
    running: RunningAgent<K, V>,
    /// The numbers of the records that it has not acknowledged, in order.
    records: VecDeque<u64>,
    /// What it has finished of a record from which operators made several.
    partly: FinishedWork,
}

impl<K: Send + 'static, V: Send + 'static> Concurrent<K, V> {
    pub(super) fn new(
        agent: &Arc<Agent<K, V>>,
        workers: usize,
        limit: Option<Duration>,
        task: &StartedFor,
    ) -> Self {
        let worker = |_| AgentFuture {
            running: agent.start(task, Acknowledged::FinishedWork),
            records: VecDeque::new(),
            partly: FinishedWork::default(),
        };
        Self {
            agent: Arc::clone(agent),
            workers: (0..workers).map(worker).collect(),
            limit_ms: limit.map(millis),
            outcomes: Outcomes::default(),
            task: task.clone(),
            // The same key always goes to the same future, also after a restart. Nothing depends on
            // it, but runs are repeatable.
            hasher: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    fn worker_of(&self, record: &RawRecord<'_>) -> usize {
        // Records without a key are spread by their offset.
        let spread = match record.key {
            Some(key) => self.hasher.hash_one(key),
            None => record.offset as u64,
        };
        (spread % self.workers.len() as u64) as usize
    }

    /// Polls one of the futures. A failure of the task itself is in `result`.
    fn poll_worker(
        &mut self,
        worker: usize,
        cx: Box<TaskContext>,
        result: &mut Polled,
    ) -> (Box<TaskContext>, Result<(), Cause>) {
        let (mut cx, polled) = self.workers[worker].running.poll(cx);
        result.asked_from_outside |= polled.asked_from_outside;
        for kept in self.workers[worker].running.take_acknowledged() {
            if let Err(cause) = self.acknowledged(worker, kept, &mut cx) {
                return (cx, Err(cause));
            }
        }
        let failure = polled.failure.map(|failure| *failure);
        let done = match failure.or_else(|| self.over_limit(worker, cx.elapsed)) {
            Some(cause) => self.failed(worker, cause, &mut cx),
            None => Ok(()),
        };
        (cx, done)
    }

    /// Notes that a future has finished records. Its sends and writes for them are released in
    /// order.
    fn acknowledged(
        &mut self,
        index: usize,
        kept: FinishedWork,
        cx: &mut TaskContext,
    ) -> Result<(), Cause> {
        let records = kept.records;
        let worker = &mut self.workers[index];
        worker.partly.append(kept);
        if records == 0 && !worker.running.has_nothing_in_part() {
            return Ok(());
        }
        let kept = mem::take(&mut worker.partly);
        let numbers: Vec<_> = worker.records.drain(..records).collect();
        let Some(until) = numbers.last().copied() else {
            // This is not for a record: the future did it at its start, or when a timer was due.
            return match self.outcomes.add_to_last(index, kept) {
                Some(kept) => self.apply(index, kept, cx),
                None => Ok(()),
            };
        };
        let mut kept = Some(kept);
        for number in numbers {
            let kept = kept.take().unwrap_or_default();
            self.outcomes.set(number, RecordOutcome { failure: None, kept, until });
        }
        Ok(())
    }

    fn over_limit(&self, worker: usize, now: Timestamp) -> Option<Cause> {
        let limit_ms = self.limit_ms?;
        let since = self.workers[worker].running.busy_since()?;
        let within = Duration::from_millis(u64::try_from(limit_ms).unwrap_or(0));
        let source = || format!("it has not asked for the next record within {within:?}").into();
        let operator = || format!("agent {}", self.agent.name).into();
        let is_over = since.saturating_add(limit_ms) <= now;
        is_over.then(|| Cause::User { operator: operator(), source: source() })
    }

    /// Replaces a future that failed by a new one, which gets the remaining records. If the future
    /// had no record, the agent itself failed.
    fn failed(&mut self, index: usize, cause: Cause, cx: &mut TaskContext) -> Result<(), Cause> {
        let worker = &mut self.workers[index];
        let in_hand = worker.running.in_hand();
        if in_hand == 0 {
            return Err(cause);
        }
        let blamed = cause.blamed().map(|index| worker.running.of_topic(index));
        let blamed = blamed.filter(|index| *index < in_hand).or((in_hand == 1).then_some(0));
        let number = blamed.and_then(|index| worker.records.remove(index));
        if let Some(number) = number {
            // It may have failed because of what it read. If that proves outdated, the record is
            // processed again and the failure is dropped.
            let mut read = mem::take(&mut worker.partly.read);
            read.append(mem::take(&mut worker.running.link.state().read));
            let kept = FinishedWork { read, ..FinishedWork::default() };
            self.outcomes.set(number, RecordOutcome { failure: Some(cause), kept, until: number });
        }
        self.restart(index, cx)?;
        if blamed.is_none() {
            self.workers[index].running.give_alone(in_hand);
        }
        Ok(())
    }

    /// Starts a new future in place of one, with the records that are not done.
    fn restart(&mut self, index: usize, cx: &mut TaskContext) -> Result<(), Cause> {
        let mut running = self.agent.start(&self.task, Acknowledged::FinishedWork);
        // The new future must see the writes of its finished but unreleased records, as the old one
        // did. Otherwise it would compute from older rows.
        for outcome in self.outcomes.of_worker(index) {
            running.link.state().unreleased.show(&outcome.kept.written);
        }
        let worker = &mut self.workers[index];
        for number in &worker.records {
            let Some(record) = self.outcomes.record(*number) else { continue };
            let raw = record.raw();
            let origin = Origin::of(self.task.input, &raw);
            let again = running.deliver(&raw, origin, &record.headers, cx);
            // The record could be decoded before. If that has changed, it is not the record's
            // fault.
            again.map_err(|failure| Cause::Panic(failure.to_string()))?;
        }
        worker.running = running;
        worker.partly = FinishedWork::default();
        // The new future has to be polled for the first time.
        self.task.waker.wake_by_ref();
        Ok(())
    }

    /// Makes a worker process its records again, starting with one.
    fn redo(&mut self, index: usize, from: u64, cx: &mut TaskContext) -> Result<(), Cause> {
        let records = &mut self.workers[index].records;
        records.extend(self.outcomes.take_back(index, from));
        records.make_contiguous().sort_unstable();
        self.restart(index, cx)
    }

    /// Releases the outcomes of the first records, as far as they are done, so that they become the
    /// task's.
    fn release(&mut self, result: &mut Polled, cx: &mut TaskContext) -> Result<(), Cause> {
        while let Some(end) = self.outcomes.end_of_first() {
            if end > self.outcomes.first() + 1 && self.outcomes.is_contradictory(end, &cx.tables) {
                return self.give_again_alone(end, cx);
            }
            while self.outcomes.first() < end {
                let Some((worker, outcome)) = self.outcomes.pop() else { return Ok(()) };
                match outcome.failure {
                    None => result.acknowledged += 1,
                    Some(cause) => {
                        result.refused.push(Refused { after: result.acknowledged, cause });
                    }
                }
                self.apply(worker, outcome.kept, cx)?;
            }
        }
        Ok(())
    }

    /// Makes a worker's sends and writes the task's. Records that have read an outdated row are
    /// processed again.
    fn apply(
        &mut self,
        by: usize,
        mut kept: FinishedWork,
        cx: &mut TaskContext,
    ) -> Result<(), Cause> {
        cx.effects.append(&mut kept.sent);
        let written = &kept.written;
        if written.is_empty() {
            return Ok(());
        }
        // Asked before the writes are absorbed, which advances the tables' stream time.
        let gone = cx.tables.gone_after(written);
        cx.absorb(written);
        self.workers[by].running.link.state().unreleased.forget(written);
        let mut stale = self.outcomes.stale(written, &gone, by, self.outcomes.first()..u64::MAX);
        for (index, worker) in self.workers.iter().enumerate() {
            let state = worker.running.link.state();
            let is_stale = [&state.read, &worker.partly.read].into_iter().any(|read| {
                (index != by && read.has_any_of(written))
                    || gone.iter().any(|(table, gone)| read.has_found(*table, *gone))
            });
            if is_stale {
                stale.entry(index).or_insert(u64::MAX);
            }
        }
        for (worker, from) in stale {
            self.redo(worker, from, cx)?;
        }
        Ok(())
    }

    /// Records of several batches can only be released together, and one of them should have read
    /// what another wrote. They are processed again one by one.
    fn give_again_alone(&mut self, end: u64, cx: &mut TaskContext) -> Result<(), Cause> {
        for (worker, (from, records)) in self.outcomes.of_each_worker(end) {
            self.redo(worker, from, cx)?;
            self.workers[worker].running.give_alone(records);
        }
        Ok(())
    }

    fn run(
        &mut self,
        mut cx: Box<TaskContext>,
        result: &mut Polled,
    ) -> (Box<TaskContext>, Result<(), Cause>) {
        for worker in 0..self.workers.len() {
            let now = cx.elapsed;
            let is_over = self.over_limit(worker, now).is_some();
            if !is_over && !self.workers[worker].running.is_due(now) {
                continue;
            }
            let (back, done) = self.poll_worker(worker, cx, result);
            cx = back;
            if done.is_err() {
                return (cx, done);
            }
        }
        let released = self.release(result, &mut cx);
        (cx, released)
    }
}

impl<K: Send + 'static, V: Send + 'static> Running for Concurrent<K, V> {
    fn deliver(
        &mut self,
        raw: &RawRecord<'_>,
        origin: Origin,
        headers: &Headers,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let worker = self.worker_of(raw);
        self.workers[worker].running.deliver(raw, origin, headers, cx)?;
        let record = OwnedRecord::from_parts(raw, headers.clone());
        self.workers[worker].records.push_back(self.outcomes.next());
        self.outcomes.push(record, worker);
        Ok(self.workers[worker].running.is_due(cx.elapsed))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let is_over = |worker: &AgentFuture<K, V>| {
            self.limit_ms
                .zip(worker.running.busy_since())
                .is_some_and(|(limit, since)| since.saturating_add(limit) <= now)
        };
        self.outcomes.end_of_first().is_some()
            || self.workers.iter().any(|one| one.running.is_due(now) || is_over(one))
    }

    fn deadline(&self) -> Option<Timestamp> {
        let batches = self.workers.iter().filter_map(|worker| worker.running.deadline());
        let limits = self
            .workers
            .iter()
            .filter_map(|worker| Some(worker.running.busy_since()?.saturating_add(self.limit_ms?)));
        batches.chain(limits).min()
    }

    fn busy_since(&self) -> Option<Timestamp> {
        self.workers.iter().filter_map(|worker| worker.running.busy_since()).min()
    }

    fn in_hand(&self) -> usize {
        self.outcomes.len()
    }

    fn poll(&mut self, cx: Box<TaskContext>) -> (Box<TaskContext>, Polled) {
        let mut result = Polled {
            acknowledged: 0,
            refused: Vec::new(),
            in_hand: 0,
            is_waiting: false,
            asked_from_outside: false,
            failure: None,
        };
        let (cx, done) = self.run(cx, &mut result);
        result.failure = done.err().map(Box::new);
        (cx, result)
    }

    fn set_task(&mut self, waker: &Waker) {
        // A future that replaces another one must wake the task, too.
        self.task.waker.clone_from(waker);
        self.workers.iter_mut().for_each(|worker| worker.running.set_task(waker));
    }

    fn give_alone(&mut self, _: usize) {}

    fn of_topic(&self, index: usize) -> usize {
        index
    }
}

/// Conversions between the agent's records and those of the topic, for an agent with operators
/// before it.
impl<K: Send + 'static, V: Send + 'static> RunningAgent<K, V> {
    fn has_nothing_in_part(&self) -> bool {
        match &self.source {
            RecordSource::Topic { .. } => true,
            RecordSource::Stream(_) => self.of_first == 0,
        }
    }

    /// Takes what was acknowledged in the last poll, with the number of records of the topic.
    fn take_acknowledged(&mut self) -> Vec<FinishedWork> {
        let mut all = self.link.state().take_kept();
        if matches!(self.source, RecordSource::Stream(_)) {
            all.iter_mut().for_each(|kept| kept.records = self.of_topic_acknowledged(kept.records));
        }
        all
    }
}
