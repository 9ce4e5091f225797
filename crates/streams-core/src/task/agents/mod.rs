//! The agents of a task: starting them, delivering records, handling the results.
//!
//! An agent is an independent reader. It keeps the records that it has not received or not
//! acknowledged, while everything else continues: operators, other agents, commits. Its sends and
//! writes are set aside until it acknowledges. Its committed position is the first record that it
//! has not acknowledged.

mod failures;
mod slow;

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

pub use slow::SlowAgent;

use super::Task;
use super::input::InputQueue;
use super::retries::Waiting;
use crate::agent::{Polled, RECORDS_PER_POLL, Refused, Running, StartedFor};
use crate::error::{Cause, Failure, RecordError, TaskError};
use crate::policy::ErrorPolicy;
use crate::record::{OwnedRecord, RawRecord, RecordBatch, Timestamp};
use crate::task_context::Origin;
use crate::topology::Source;
use crate::window::millis;

/// How far an agent may lag behind the operators of its input, in records and in bytes, before they
/// wait for it. What it has not acknowledged is in memory.
const PENDING_MAX: usize = 10_000;
const PENDING_BYTES_MAX: usize = 1 << 20;

/// An agent of one input.
pub(crate) struct AgentSlot {
    running: Box<dyn Running>,
    /// Records before this offset were acknowledged before the task was resumed.
    from: i64,
    /// Records that were delivered and not acknowledged, in that order.
    pending: VecDeque<Pending>,
    /// Bytes of their keys and values.
    pending_bytes: usize,
    /// Whether it waited for records after the last poll.
    is_waiting: bool,
}

/// A record that an agent has received, or will receive.
pub(super) struct Pending {
    pub(super) record: OwnedRecord,
    /// The row in which it waited for a retry, if it has failed before. Such a record does not
    /// count for the agent's position.
    pub(super) row: Option<Box<Waiting>>,
    /// What is wrong with it, because its batch said so or because the agent cannot receive it. It
    /// ends when all before it have ended.
    blamed: Option<Cause>,
}

impl Pending {
    pub(super) fn new(record: OwnedRecord) -> Self {
        Self { record, row: None, blamed: None }
    }

    /// A record that has waited for a retry.
    pub(super) fn again(row: Waiting) -> Self {
        Self { record: row.record().clone(), row: Some(Box::new(row)), blamed: None }
    }
}

impl AgentSlot {
    fn new(running: Box<dyn Running>, from: i64) -> Self {
        Self { running, from, pending: VecDeque::new(), pending_bytes: 0, is_waiting: false }
    }

    /// How far this agent has come when its input is at `position`.
    pub(crate) fn acknowledged(&self, position: i64) -> i64 {
        let first = self.pending.iter().find(|one| one.row.is_none());
        first.map_or(self.from.max(position), |first| first.record.offset)
    }

    /// Whether the input has to wait for it. An agent that waits for records never lags far behind,
    /// because an incomplete batch may have any size.
    pub(crate) fn is_far_behind(&self) -> bool {
        let is_much =
            || self.pending.len() >= PENDING_MAX || self.pending_bytes >= PENDING_BYTES_MAX;
        !self.is_waiting && is_much()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(crate) fn set_task(&mut self, waker: &Waker) {
        self.running.set_task(waker);
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.pending_bytes += pending.record.bytes();
        self.pending.push_back(pending);
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        self.pending_bytes -= pending.record.bytes();
        Some(pending)
    }

    fn deadline(&self, limit: Option<Duration>) -> Option<Timestamp> {
        let limit = limit.map(millis);
        let over = limit.zip(self.running.busy_since()).map(|(limit, since)| since + limit);
        self.running.deadline().into_iter().chain(over).min()
    }
}

impl Task {
    /// Starts new futures for all agents, and runs them until they first ask for a record.
    pub(super) fn start_agents(&mut self) -> Result<(), TaskError> {
        for input in 0..self.inputs.len() {
            let from = mem::take(&mut self.inputs[input].agents_from);
            for (agent, from) in from.into_iter().enumerate() {
                let running = self.new_agent(input, agent);
                self.inputs[input].agents.push(AgentSlot::new(running, from));
                let polled = self.poll_agent(input, agent)?;
                if let Some(cause) = polled.failure.as_deref() {
                    return Err(self.other(cause.to_string()));
                }
            }
        }
        Ok(())
    }

    fn new_agent(&self, input: usize, agent: usize) -> Box<dyn Running> {
        let source = self.source(input);
        let task = StartedFor {
            input: input as u32,
            topic: Arc::clone(&source.topic),
            partition: self.id.partition,
            is_undoable: source.policy != ErrorPolicy::Fail,
            waker: self.waker.clone(),
        };
        source.agents[agent].start(&task)
    }

    /// Delivers a record to the agents of its input.
    pub(super) fn run_agents(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let record = batch.record(index);
        for agent in 0..self.inputs[input].agents.len() {
            if record.offset >= self.inputs[input].agents[agent].from {
                self.run_agent(input, agent, &record, batch, index, failed)?;
            }
        }
        Ok(())
    }

    /// Whether a single agent without unacknowledged records is the only reader of the input.
    pub(super) fn has_lone_agent(&self, input: usize) -> bool {
        let [InputQueue { agents, .. }] = &self.inputs[..] else { return false };
        let [only] = &agents[..] else { return false };
        let source = self.source(input);
        // With retries, a record may have to wait for earlier ones with its key.
        only.pending.is_empty() && source.receivers.is_empty() && source.policy.retries().is_none()
    }

    /// Delivers several records of the batch at a time. The result is the same as one by one,
    /// because there is no other reader, and it needs only one poll. Returns how many were
    /// delivered.
    pub(super) fn run_lone_agent(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        within: Range<usize>,
        failed: &mut Vec<RecordError>,
    ) -> Result<usize, TaskError> {
        let first = within.start;
        let mut delivered = Vec::new();
        let mut next = first;
        let end = within.end.min(first + RECORDS_PER_POLL);
        // Once a record may have to wait for an earlier one, they are processed one by one.
        while next < end && (next == first || !self.may_hold(input)) {
            let record = batch.record(next);
            if record.offset >= self.inputs[input].agents[0].from {
                self.begin(input, batch, next, false);
                let origin = self.cx().origin;
                match self.deliver(input, 0, &record, origin) {
                    Ok(_) => delivered.push(next),
                    // Those before it are finished first.
                    Err(_) if !delivered.is_empty() => break,
                    Err(failure) => {
                        let cause = self.record_cause(failure)?;
                        let pending = Pending::new(OwnedRecord::of(batch, next));
                        self.agent_gave_up(input, 0, pending, cause, failed)?;
                    }
                }
            }
            self.pass(input, batch, next);
            next += 1;
        }
        let elapsed = self.cx().elapsed;
        let is_due = self.inputs[input].agents[0].running.is_due(elapsed);
        let polled = if is_due { Some(self.poll_agent(input, 0)?) } else { None };
        let done = polled.as_ref().map_or(0, Polled::acknowledged_first).min(delivered.len());
        let slot = &mut self.inputs[input].agents[0];
        for index in &delivered[done..] {
            slot.push(Pending::new(OwnedRecord::of(batch, *index)));
        }
        if let Some(mut polled) = polled {
            polled.settle_first(done);
            self.settle(input, 0, polled, failed)?;
        }
        Ok(next - first)
    }

    fn run_agent(
        &mut self,
        input: usize,
        agent: usize,
        record: &RawRecord<'_>,
        batch: &dyn RecordBatch,
        index: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let owned = || OwnedRecord::of(batch, index);
        if self.agent_is_held(input, agent, record.key, owned, failed)? {
            return Ok(());
        }
        let origin = self.cx().origin;
        let is_due = match self.deliver(input, agent, record, origin) {
            Ok(is_due) => is_due,
            Err(failure) => {
                let cause = self.record_cause(failure)?;
                let pending = Pending::new(owned());
                return self.blame(input, agent, pending, cause, failed);
            }
        };
        let slot = &mut self.inputs[input].agents[agent];
        // Most agents finish a record at once. A copy is needed only for the others.
        let is_first = slot.pending.is_empty();
        if !is_due {
            slot.push(Pending::new(OwnedRecord::of(batch, index)));
            return Ok(());
        }
        if !is_first {
            slot.push(Pending::new(OwnedRecord::of(batch, index)));
        }
        let mut polled = self.poll_agent(input, agent)?;
        if is_first {
            if polled.acknowledged_first() > 0 {
                polled.settle_first(1);
            } else {
                let pending = Pending::new(OwnedRecord::of(batch, index));
                self.inputs[input].agents[agent].push(pending);
            }
        }
        self.settle(input, agent, polled, failed)
    }

    pub(super) fn deliver(
        &mut self,
        input: usize,
        agent: usize,
        record: &RawRecord<'_>,
        origin: Origin,
    ) -> Result<bool, Failure> {
        let mut cx = self.take_cx();
        let headers = mem::take(&mut cx.headers);
        let running = &mut self.inputs[input].agents[agent].running;
        let delivered = running.deliver(record, origin, &headers, &mut cx);
        cx.headers = headers;
        self.cx = Some(cx);
        delivered
    }

    /// Polls an agent. An error that must stop the task counts, whatever the agent did with it.
    fn poll_agent(&mut self, input: usize, agent: usize) -> Result<Polled, TaskError> {
        let cx = self.take_cx();
        let slot = &mut self.inputs[input].agents[agent];
        let (mut cx, polled) = slot.running.poll(cx);
        slot.is_waiting = polled.is_waiting;
        let stop = cx.stop.take();
        // Back before any return: an error must not leave the task without its context.
        self.cx = Some(cx);
        if let Some(stop) = stop {
            return Err(self.stopped(stop));
        }
        if polled.asked_from_outside {
            let name = self.source(input).agents[agent].name();
            return Err(self.other(format!(
                "the records of the agent {name} were requested outside of the agent's own \
                 future, in a task that it spawned or on another thread, so they cannot be \
                 acknowledged; receive records in the agent itself, and pass their contents to the \
                 spawned task, for example over a channel"
            )));
        }
        Ok(polled)
    }

    /// Handles the result of a poll.
    fn settle(
        &mut self,
        input: usize,
        agent: usize,
        polled: Polled,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let mut settled = 0;
        // All of them together: a commit between two records of a batch would tear it.
        for Refused { after, cause } in polled.refused {
            self.succeed(input, agent, after - settled, failed)?;
            settled = after;
            if let Some(pending) = self.inputs[input].agents[agent].pop() {
                self.agent_gave_up(input, agent, pending, cause, failed)?;
            }
            self.end_blamed(input, agent, failed)?;
        }
        self.succeed(input, agent, polled.acknowledged - settled, failed)?;
        match polled.failure {
            Some(cause) => self.agent_failed(input, agent, polled.in_hand, *cause, failed),
            None => Ok(()),
        }
    }

    /// Marks the first records of an agent as done.
    fn succeed(
        &mut self,
        input: usize,
        agent: usize,
        records: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        for _ in 0..records {
            self.touched = true;
            let done = self.inputs[input].agents[agent].pop();
            if let Some(row) = done.and_then(|done| done.row) {
                self.succeeded(input, &row)?;
            }
            self.end_blamed(input, agent, failed)?;
        }
        Ok(())
    }

    /// Polls agents that something has woken, delivers batches that are due, and ends records that
    /// have taken too long.
    pub(super) fn advance_agents(
        &mut self,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        for input in 0..self.inputs.len() {
            for agent in 0..self.inputs[input].agents.len() {
                // Due work that results have caused comes before further results.
                if self.is_behind() {
                    return Ok(());
                }
                self.run_if_due(input, agent, failed)?;
                self.end_if_too_long(input, agent, failed)?;
            }
        }
        Ok(())
    }

    /// Polls an agent if it would find something to do.
    pub(super) fn run_if_due(
        &mut self,
        input: usize,
        agent: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let elapsed = self.cx().elapsed;
        if !self.inputs[input].agents[agent].running.is_due(elapsed) {
            return Ok(());
        }
        let polled = self.poll_agent(input, agent)?;
        self.settle(input, agent, polled, failed)
    }

    /// Whether something has woken an agent, or what it waits for is ready.
    pub(super) fn has_woken_agents(&self) -> bool {
        let elapsed = self.cx().elapsed;
        let agents = self.inputs.iter().flat_map(|input| &input.agents);
        agents.into_iter().any(|slot| slot.running.is_due(elapsed))
    }

    /// When an agent's batch has waited long enough, or its record has taken too long, on the
    /// monotonic clock.
    pub(super) fn agents_deadline(&self) -> Option<Timestamp> {
        let sources = self.sub_topology().sources.iter();
        let inputs = self.inputs.iter().zip(sources);
        let agents = inputs.flat_map(|(input, source)| input.agents.iter().zip(&source.agents));
        agents.filter_map(|(slot, runner)| slot.deadline(runner.limit())).min()
    }

    /// Whether calls are in flight whose results go to operators.
    pub(super) fn awaits_results(&self) -> bool {
        let sources = self.sub_topology().sources.iter();
        let inputs = self.inputs.iter().zip(sources);
        let mut agents = inputs.flat_map(|(input, source)| input.agents.iter().zip(&source.agents));
        agents.any(|(slot, runner)| runner.feeds_operators() && !slot.pending.is_empty())
    }

    /// Whether an agent lags so far behind the operators of an input that they wait for it.
    pub(super) fn waits_for_agents(&self) -> bool {
        self.inputs.iter().any(InputQueue::waits_for_agents)
    }

    pub(super) fn source(&self, input: usize) -> &Source {
        &self.sub_topology().sources[input]
    }
}
