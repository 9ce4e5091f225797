//! Processing: the oldest record first, each to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Task;
use super::agents::Parked;
use crate::agent::panic_text;
use crate::cx::{Origin, RecordMark};
use crate::effect::Effects;
use crate::error::{Cause, Failure, FailureKind, RecordError, TaskError};
use crate::moment::Moment;
use crate::policy::ErrorPolicy;
use crate::record::{OwnedRecord, RecordBatch, Timestamp};

/// What a step did.
#[derive(Debug, Default)]
pub struct Step {
    /// How many records it processed, failed ones included.
    pub processed: usize,
    /// How much of `records_max` it used, give or take one: its records, and what it did of what
    /// they had left to be done.
    pub used: usize,
    /// Whether there is more to do right away.
    pub more: bool,
    /// Records that failed and were dealt with by the error policy: counted, to be logged.
    pub failed: Vec<RecordError>,
}

/// How a run over a batch ended.
enum Run {
    /// At the limit, at the batch's end, or where another input is older.
    Stopped,
    /// An agent is busy with the record.
    Parked(Parked),
    /// The record failed.
    Failed(Failure, Option<RecordMark>),
}

impl Task {
    /// Processes at most `records_max` queued records, appending what they cause to `effects`. May
    /// stop early.
    pub fn step(
        &mut self,
        now: impl Into<Moment>,
        records_max: usize,
        effects: &mut Effects,
    ) -> Result<Step, TaskError> {
        self.cx_mut().set_moment(now.into());
        self.lend_effects(effects, |task| task.step_inside(records_max))
    }

    fn step_inside(&mut self, records_max: usize) -> Result<Step, TaskError> {
        let mut step = Step::default();
        while step.processed < records_max && self.parked.is_none() {
            if self.is_behind() && !self.catch_up(records_max, &mut step)? {
                break;
            }
            if self.tick(&mut step)? {
                continue;
            }
            let Some(input) = self.oldest_input() else { break };
            self.step_input(input, records_max, &mut step)?;
        }
        step.used += step.processed;
        step.more = self.is_ready();
        Ok(step)
    }

    fn step_input(
        &mut self,
        input: usize,
        records_max: usize,
        step: &mut Step,
    ) -> Result<(), TaskError> {
        let until = self.turn_ends_at(input);
        let Some((batch, first)) = self.inputs[input].take_batch() else { return Ok(()) };
        let limit = batch.len().min(first.saturating_add(records_max - step.processed));
        let mut next = first;
        let run = self.run_guarded(input, &*batch, &mut next, limit, until);
        let outcome = match run {
            Run::Stopped => Ok(()),
            Run::Parked(parked) => {
                self.park(parked);
                Ok(())
            }
            Run::Failed(failure, mark) => {
                let record = OwnedRecord::of(&*batch, next);
                let failed = self.failed(input, Some(record), failure, mark);
                failed.map(|errors| {
                    step.failed.extend(errors);
                    self.pass(input, &*batch, next);
                    next += 1;
                })
            }
        };
        step.processed += next - first;
        self.inputs[input].put_back(batch, next);
        outcome
    }

    /// Runs over the batch with one guard against panics of user code for all of it: `next` tells
    /// which record it was.
    fn run_guarded(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        next: &mut usize,
        limit: usize,
        until: Timestamp,
    ) -> Run {
        let undoable = self.source(input).policy != ErrorPolicy::Fail;
        let mut mark = None;
        let run = catch_unwind(AssertUnwindSafe(|| {
            while *next < limit && self.is_due(input, batch, *next, until) {
                mark = self.begin(input, batch, *next, undoable);
                match self.process(input, batch, *next) {
                    Ok(None) => self.pass(input, batch, *next),
                    Ok(Some(agent)) => {
                        let mark = mark.take();
                        return Run::Parked(Parked::new((input, agent), true, mark));
                    }
                    Err(failure) => return Run::Failed(failure, mark.take()),
                }
                *next += 1;
                if self.is_behind() {
                    break;
                }
            }
            Run::Stopped
        }));
        run.unwrap_or_else(|panic| {
            Run::Failed(Cause::Panic(panic_text(&*panic)).into(), mark.take())
        })
    }

    /// Whether a record still belongs to this input's turn, which ends at `until`.
    fn is_due(
        &self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
        until: Timestamp,
    ) -> bool {
        // Nothing waits elsewhere: the time need not be known.
        until == Timestamp::MAX || self.turn_time(self.source(input), &batch.record(index)) <= until
    }

    fn begin(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
        undoable: bool,
    ) -> Option<RecordMark> {
        let record = batch.record(index);
        let max_ahead_ms = self.source(input).max_ahead_ms;
        let cx = self.cx_mut();
        cx.max_ahead_ms = max_ahead_ms;
        let (offset, timestamp) = (record.offset, record.timestamp);
        cx.origin = Origin { input: input as u32, offset, timestamp };
        cx.headers.clear();
        batch.headers(index, &mut cx.headers);
        cx.begin_record(undoable)
    }

    /// Runs a record through the operators, then gives it to the agents. `Some`: that agent is busy
    /// with it.
    fn process(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
    ) -> Result<Option<usize>, Failure> {
        let record = batch.record(index);
        if record.offset >= self.inputs[input].operators_from {
            let topology = &*self.topology;
            let source = &topology.sub_topologies[self.id.sub_topology].sources[input];
            let Some(cx) = self.cx.as_mut() else { return Ok(None) };
            for receiver in &source.receivers {
                receiver.receive(&record, cx)?;
            }
        }
        if self.inputs[input].agents.is_empty() {
            return Ok(None);
        }
        self.run_agents(input, 0, batch, index)
    }

    /// The record is done with.
    fn pass(&mut self, input: usize, batch: &dyn RecordBatch, index: usize) {
        let record = batch.record(index);
        self.inputs[input].passed(&record);
        self.touched = true;
        let cx = self.cx_mut();
        cx.metrics.processed += 1;
        cx.latest = cx.latest.max(record.timestamp);
    }

    /// Takes back what a failed record did and applies the error policy to it, and to the other
    /// records of an agent's batch that failed with it. Without a record in hand it is the batch's
    /// last one that failed.
    pub(super) fn failed(
        &mut self,
        input: usize,
        record: Option<OwnedRecord>,
        failure: Failure,
        mark: Option<RecordMark>,
    ) -> Result<Vec<RecordError>, TaskError> {
        // User code may have made something else of what must stop the task, or a panic.
        let failure = self.cx_mut().stop.take().unwrap_or(failure);
        let cause = match failure.kind() {
            FailureKind::Record(cause) => cause,
            kind => return Err(self.stopped(kind.into())),
        };
        if let Some(mark) = mark {
            self.cx_mut().undo_record(mark);
        }
        let text = cause.to_string();
        let mut batch = self.take_kept(input);
        // Without any record an agent ended before it had asked for one.
        let Some(record) = record.or_else(|| batch.pop()) else { return Err(self.other(text)) };
        let mut errors = vec![self.apply_policy(input, &record, cause)?];
        for other in batch.iter().filter(|other| other.offset != record.offset) {
            let operator = Arc::from("a batch with another record that failed");
            let cause = Cause::User { operator, source: text.clone().into() };
            errors.push(self.apply_policy(input, other, cause)?);
        }
        Ok(errors)
    }

    /// Goes on with the record or batch that an agent was busy with.
    pub(super) fn unpark(&mut self) -> Result<Vec<RecordError>, TaskError> {
        let Some(Parked { input, agent, in_record, mark, .. }) = self.take_parked() else {
            return Ok(Vec::new());
        };
        let first = self.first_of_batch(input, agent);
        let taken = if in_record { self.inputs[input].take_batch() } else { None };
        let mut outcome = self.settle(input, agent).map(|busy| busy.then_some(agent));
        if let (Ok(None), Some((batch, index))) = (&outcome, &taken) {
            outcome = self.run_agents(input, agent + 1, &**batch, *index);
        }
        let result = match outcome {
            Ok(Some(agent)) => {
                self.park(Parked::new((input, agent), in_record, mark));
                Ok(Vec::new())
            }
            Ok(None) => Ok(Vec::new()),
            Err(failure) => {
                let in_hand =
                    taken.as_ref().map(|(batch, index)| OwnedRecord::of(&**batch, *index));
                self.failed(input, in_hand.or(first), failure, mark)
            }
        };
        if let Some((batch, index)) = taken {
            let done = self.parked.is_none() && result.is_ok();
            if done {
                self.pass(input, &*batch, index);
            }
            self.inputs[input].put_back(batch, index + usize::from(done));
        }
        result
    }
}
