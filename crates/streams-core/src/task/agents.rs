//! The agents of a task: starting them, giving them records, waiting for them.

use std::mem;

use super::Task;
use crate::agent::{AgentRunner, Poll, Running};
use crate::cx::{Origin, RecordMark};
use crate::effect::Effects;
use crate::error::{Cause, Failure, TaskError};
use crate::record::{Headers, OwnedRecord, RawRecord, RecordBatch, Timestamp};
use crate::topology::Source;

/// An agent of one input.
pub(crate) struct AgentSlot {
    running: Box<dyn Running>,
    /// Records before this offset were acknowledged in an earlier life of the task.
    from: i64,
    /// The first record of a batch in the making: handed over and acknowledged as a whole, later.
    unacknowledged: Option<i64>,
    /// Copies of the records of that batch, where the error policy may have to do something with
    /// them.
    kept: Vec<OwnedRecord>,
    /// The place and the headers of the last record of a batch in the making: what the agent sends
    /// when its time has come is of that record, whichever the task has processed since.
    pub(super) last: (Origin, Headers),
}

/// Why a task cannot step: an agent awaits something of its own.
pub(super) struct Parked {
    pub(super) input: usize,
    pub(super) agent: usize,
    /// Whether a record is in hand, or only a batch whose time had come.
    pub(super) in_record: bool,
    pub(super) mark: Option<RecordMark>,
    /// What it sent so far, if that may have to be taken back.
    held: Effects,
}

impl Parked {
    pub(super) fn new(
        (input, agent): (usize, usize),
        in_record: bool,
        mark: Option<RecordMark>,
    ) -> Self {
        Self { input, agent, in_record, mark, held: Effects::new() }
    }
}

impl AgentSlot {
    pub(crate) fn new(runner: &std::sync::Arc<dyn AgentRunner>) -> Self {
        let (kept, last) = (Vec::new(), (Origin::default(), Headers::new()));
        Self { running: runner.start(), from: 0, unacknowledged: None, kept, last }
    }

    pub(crate) fn resume(&mut self, from: i64) {
        (self.from, self.unacknowledged) = (from, None);
        self.kept.clear();
    }

    /// How far this agent has come when its input stands at `position`.
    pub(crate) fn acknowledged(&self, position: i64) -> i64 {
        self.unacknowledged.unwrap_or(self.from.max(position))
    }

    fn restart(&mut self, runner: &dyn AgentRunner) {
        self.running = runner.start();
        self.unacknowledged = None;
    }
}

impl Task {
    /// New futures for all agents, run up to where they first ask for a record.
    pub(super) fn start_agents(&mut self) -> Result<(), TaskError> {
        for input in 0..self.inputs.len() {
            for agent in 0..self.inputs[input].agents.len() {
                let runner = std::sync::Arc::clone(&self.source(input).agents[agent]);
                self.inputs[input].agents[agent].restart(&*runner);
                let polled = self.poll_agent(input, agent);
                match polled.map_err(|failure| self.stopped(failure))? {
                    Poll::Ended(cause) => return Err(self.other(cause.to_string())),
                    Poll::Busy => {
                        self.park(Parked::new((input, agent), false, None));
                    }
                    Poll::Idle | Poll::Collecting => {}
                }
            }
        }
        Ok(())
    }

    /// Gives a record to the agents of its input, from number `first` on. `Some`: that agent is
    /// busy with it.
    pub(super) fn run_agents(
        &mut self,
        input: usize,
        first: usize,
        batch: &dyn RecordBatch,
        index: usize,
    ) -> Result<Option<usize>, Failure> {
        let record = batch.record(index);
        for agent in first..self.inputs[input].agents.len() {
            if record.offset < self.inputs[input].agents[agent].from {
                continue;
            }
            self.deliver(input, agent, &record, batch, index)?;
            if self.settle(input, agent)? {
                return Ok(Some(agent));
            }
        }
        Ok(None)
    }

    fn deliver(
        &mut self,
        input: usize,
        agent: usize,
        record: &RawRecord<'_>,
        batch: &dyn RecordBatch,
        index: usize,
    ) -> Result<(), Cause> {
        let cx = self.take_cx();
        let slot = &mut self.inputs[input].agents[agent];
        let delivered = slot.running.deliver(record, &cx);
        self.cx = Some(cx);
        delivered?;
        let keep = self.source(input).policy != crate::policy::ErrorPolicy::Fail;
        let slot = &mut self.inputs[input].agents[agent];
        slot.unacknowledged.get_or_insert(record.offset);
        if keep {
            slot.kept.push(OwnedRecord::of(batch, index));
        }
        Ok(())
    }

    /// Polls an agent and notes what came of it. `true`: it is busy.
    pub(super) fn settle(&mut self, input: usize, agent: usize) -> Result<bool, Failure> {
        match self.poll_agent(input, agent)? {
            Poll::Idle => {
                let slot = &mut self.inputs[input].agents[agent];
                slot.unacknowledged = None;
                slot.kept.clear();
                Ok(false)
            }
            Poll::Collecting => {
                let cx = self.cx();
                let last = (cx.origin, cx.headers.clone());
                self.inputs[input].agents[agent].last = last;
                Ok(false)
            }
            Poll::Busy => Ok(true),
            Poll::Ended(cause) => {
                let runner = std::sync::Arc::clone(&self.source(input).agents[agent]);
                self.inputs[input].agents[agent].restart(&*runner);
                Err(cause.into())
            }
        }
    }

    /// The records that a failed agent held; they are dealt with by the error policy as one.
    pub(super) fn take_kept(&mut self, input: usize) -> Vec<OwnedRecord> {
        let agents = self.inputs[input].agents.iter_mut();
        // Only an agent that failed has records but no batch in the making any more.
        let failed = agents.filter(|slot| slot.unacknowledged.is_none() && !slot.kept.is_empty());
        failed.flat_map(|slot| mem::take(&mut slot.kept)).collect()
    }

    pub(super) fn agent_is_due(&mut self, input: usize, agent: usize) -> bool {
        let elapsed = self.cx().elapsed;
        let slot = &mut self.inputs[input].agents[agent];
        slot.unacknowledged.is_some() && slot.running.is_due(elapsed)
    }

    /// When the first batch in the making has waited long enough, by the clock that never goes
    /// back.
    pub(super) fn agents_deadline(&self) -> Option<Timestamp> {
        let agents = self.inputs.iter().flat_map(|input| &input.agents);
        agents.filter_map(|slot| slot.running.deadline()).min()
    }

    /// What must stop the task counts, whatever the agent made of it.
    fn poll_agent(&mut self, input: usize, agent: usize) -> Result<Poll, Failure> {
        let cx = self.take_cx();
        let slot = &mut self.inputs[input].agents[agent];
        let (mut cx, poll) = slot.running.poll(cx, &self.waker);
        let stop = cx.stop.take();
        self.cx = Some(cx);
        stop.map_or(Ok(poll), Err)
    }

    /// Waits for an agent. The task has something to commit then, at the latest when the agent is
    /// done: so somebody looks how long that takes.
    pub(super) fn park(&mut self, mut parked: Parked) {
        if let Some(mark) = &parked.mark {
            parked.held = self.cx_mut().suspend_record(mark);
        }
        self.touched = true;
        self.parked = Some(parked);
    }

    /// The agent may be done.
    pub(super) fn take_parked(&mut self) -> Option<Parked> {
        let mut parked = self.parked.take()?;
        if let Some(mark) = &mut parked.mark {
            self.cx_mut().go_on_with_record(mark, mem::take(&mut parked.held));
        }
        Some(parked)
    }

    /// The record by which a batch is named if it fails: where the policy is to fail, no copies
    /// are kept, and it is the first.
    pub(super) fn first_of_batch(&self, input: usize, agent: usize) -> Option<OwnedRecord> {
        let offset = self.inputs[input].agents[agent].unacknowledged?;
        let fails = self.source(input).policy == crate::policy::ErrorPolicy::Fail;
        fails.then(|| OwnedRecord { offset, ..OwnedRecord::default() })
    }

    pub(super) fn source(&self, input: usize) -> &Source {
        &self.sub_topology().sources[input]
    }
}
