//! Several futures of one agent side by side, for one task.
//!
//! Each has the records of some keys. What they send comes out in the order of the records: what is
//! acknowledged out of turn waits here.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::StartedFor;
use super::link::Acknowledged;
use super::runner::Agent;
use super::running::{PollFailure, Polled, Running, RunningAgent, Source};
use crate::cx::{Cx, Origin};
use crate::effect::Effects;
use crate::error::{Cause, Failure};
use crate::record::{Headers, OwnedRecord, RawRecord, Timestamp};
use crate::window::millis;

pub(super) struct Concurrent<K, V> {
    agent: Arc<Agent<K, V>>,
    workers: Vec<Worker<K, V>>,
    limit_ms: Option<i64>,
    /// All records that were delivered and not acknowledged to the task, in order.
    records: VecDeque<Entry>,
    /// The number of the first of them since the task started.
    first: u64,
    task: StartedFor,
    hasher: ahash::RandomState,
}

struct Worker<K, V> {
    running: RunningAgent<K, V>,
    /// The numbers of the records that it has not acknowledged.
    records: VecDeque<u64>,
    /// What it sent for a part of a record of which operators have made several.
    partly: Effects,
}

struct Entry {
    record: OwnedRecord,
    outcome: Option<Result<Effects, Cause>>,
}

impl<K: Send + 'static, V: Send + 'static> Concurrent<K, V> {
    pub(super) fn new(
        agent: &Arc<Agent<K, V>>,
        workers: usize,
        limit: Option<Duration>,
        task: &StartedFor,
    ) -> Self {
        let worker = |_| Worker {
            running: agent.start(task, Acknowledged::Kept),
            records: VecDeque::new(),
            partly: Effects::new(),
        };
        Self {
            agent: Arc::clone(agent),
            workers: (0..workers).map(worker).collect(),
            limit_ms: limit.map(millis),
            records: VecDeque::new(),
            first: 0,
            task: task.clone(),
            // The same key goes to the same future in every life: nothing depends on it, but runs
            // can be repeated.
            hasher: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.records.get_mut(place)
    }

    fn worker_of(&self, record: &RawRecord<'_>) -> usize {
        // Those without a key go round.
        let spread = match record.key {
            Some(key) => self.hasher.hash_one(key),
            None => record.offset as u64,
        };
        (spread % self.workers.len() as u64) as usize
    }

    /// Runs one of them. What stops the task is in what is polled.
    fn poll_worker(&mut self, worker: usize, cx: Box<Cx>) -> (Box<Cx>, Polled) {
        let (mut cx, mut polled) = self.workers[worker].running.poll(cx);
        for (records, sent) in self.workers[worker].running.take_acknowledged() {
            self.acknowledged(worker, records, sent, &mut cx);
        }
        let failure = polled.failure.take().map(|failure| *failure);
        let cause = match failure {
            Some(PollFailure::Agent(cause) | PollFailure::Record(cause)) => Some(cause),
            None => self.over_limit(worker, cx.elapsed),
        };
        if let Some(cause) = cause {
            polled.failure = self.failed(worker, cause, &mut cx);
        }
        (cx, polled)
    }

    /// A future is done with records: what it sent for them comes out when it is their turn.
    fn acknowledged(&mut self, worker: usize, records: usize, mut sent: Effects, cx: &mut Cx) {
        let worker = &mut self.workers[worker];
        worker.partly.append(&mut sent);
        if records == 0 && worker.running.has_nothing_in_part() {
            // Not for a record: at its start, or when a timer was due.
            cx.effects.append(&mut worker.partly);
            return;
        }
        let mut sent = mem::take(&mut worker.partly);
        if records == 0 {
            worker.partly = sent;
            return;
        }
        let numbers: Vec<_> = worker.records.drain(..records).collect();
        for number in numbers {
            if let Some(entry) = self.entry(number) {
                entry.outcome = Some(Ok(mem::take(&mut sent)));
            }
        }
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

    /// A future failed: another takes its place, with what is left. Without a record in hand nobody
    /// but the agent is to blame.
    fn failed(&mut self, worker: usize, cause: Cause, cx: &mut Cx) -> Option<Box<PollFailure>> {
        let running = &self.workers[worker].running;
        let in_hand = running.in_hand();
        if in_hand == 0 {
            return Some(Box::new(PollFailure::Agent(cause)));
        }
        let blamed = cause.blamed().map(|index| running.of_topic(index));
        let blamed = blamed.filter(|index| *index < in_hand).or((in_hand == 1).then_some(0));
        let again = self.agent.start(&self.task, Acknowledged::Kept);
        let failing = &mut self.workers[worker];
        failing.running = again;
        failing.partly = Effects::new();
        let number = blamed.and_then(|index| failing.records.remove(index));
        if let Some(entry) = number.and_then(|number| self.entry(number)) {
            entry.outcome = Some(Err(cause));
        }
        if let Err(cause) = self.deliver_again(worker, cx) {
            return Some(Box::new(PollFailure::Agent(cause)));
        }
        if blamed.is_none() {
            self.workers[worker].running.give_alone(in_hand);
        }
        None
    }

    fn deliver_again(&mut self, worker: usize, cx: &mut Cx) -> Result<(), Cause> {
        let first = self.first;
        let Worker { running, records, .. } = &mut self.workers[worker];
        for number in &*records {
            let Some(entry) = self.records.get((number - first) as usize) else { continue };
            let raw = entry.record.raw();
            let origin = Origin::of(self.task.input, &raw);
            let again = running.deliver(&raw, origin, &entry.record.headers, cx);
            // It was decoded before; if that changes now, it is not the record's fault.
            again.map_err(|failure| Cause::Panic(failure.to_string()))?;
        }
        Ok(())
    }

    /// What the first records have led to, as far as they are done.
    fn release(&mut self, cx: &mut Cx) -> (usize, Option<Cause>) {
        let mut released = 0;
        while let Some(outcome) = self.records.front_mut().and_then(|entry| entry.outcome.take()) {
            self.records.pop_front();
            self.first += 1;
            match outcome {
                Ok(mut sent) => cx.effects.append(&mut sent),
                Err(cause) => return (released, Some(cause)),
            }
            released += 1;
        }
        (released, None)
    }
}

impl<K: Send + 'static, V: Send + 'static> Running for Concurrent<K, V> {
    fn deliver(
        &mut self,
        raw: &RawRecord<'_>,
        origin: Origin,
        headers: &Headers,
        cx: &mut Cx,
    ) -> Result<bool, Failure> {
        let worker = self.worker_of(raw);
        self.workers[worker].running.deliver(raw, origin, headers, cx)?;
        let record = OwnedRecord::from_parts(raw, headers.clone());
        self.workers[worker].records.push_back(self.first + self.records.len() as u64);
        self.records.push_back(Entry { record, outcome: None });
        Ok(self.workers[worker].running.is_due(cx.elapsed))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let is_over = |worker: &Worker<K, V>| {
            self.limit_ms
                .zip(worker.running.busy_since())
                .is_some_and(|(limit, since)| since.saturating_add(limit) <= now)
        };
        let is_released = self.records.front().is_some_and(|entry| entry.outcome.is_some());
        is_released || self.workers.iter().any(|one| one.running.is_due(now) || is_over(one))
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
        self.records.len()
    }

    fn poll(&mut self, mut cx: Box<Cx>) -> (Box<Cx>, Polled) {
        let mut result = Polled {
            acknowledged: 0,
            in_hand: 0,
            is_waiting: false,
            asked_from_outside: false,
            failure: None,
        };
        for worker in 0..self.workers.len() {
            let now = cx.elapsed;
            let is_over = self.over_limit(worker, now).is_some();
            if !is_over && !self.workers[worker].running.is_due(now) {
                continue;
            }
            let (back, polled) = self.poll_worker(worker, cx);
            cx = back;
            result.asked_from_outside |= polled.asked_from_outside;
            if polled.failure.is_some() {
                result.failure = polled.failure;
                return (cx, result);
            }
        }
        let (acknowledged, failed) = self.release(&mut cx);
        result.acknowledged = acknowledged;
        result.failure = failed.map(|cause| Box::new(PollFailure::Record(cause)));
        (cx, result)
    }

    fn set_task(&mut self, waker: &Waker) {
        // One that takes the place of another is to wake it, too.
        self.task.waker.clone_from(waker);
        self.workers.iter_mut().for_each(|worker| worker.running.set_task(waker));
    }

    fn give_alone(&mut self, _: usize) {}

    fn of_topic(&self, index: usize) -> usize {
        index
    }
}

/// Whether operators stand in front of the agent is known by its source.
impl<K: Send + 'static, V: Send + 'static> RunningAgent<K, V> {
    fn has_nothing_in_part(&self) -> bool {
        match &self.source {
            Source::Topic { .. } => true,
            Source::Stream(_) => self.of_first == 0,
        }
    }

    /// What was acknowledged in the last poll: how many records of the topic at a time, and what
    /// was sent for them.
    fn take_acknowledged(&mut self) -> Vec<(usize, Effects)> {
        let kept = self.link.state().take_kept();
        let of_topic = |(records, sent)| match self.source {
            Source::Topic { .. } => (records, sent),
            Source::Stream(_) => (self.of_topic_acknowledged(records), sent),
        };
        kept.into_iter().map(of_topic).collect()
    }
}
