//! Processing: the oldest record first, each one completely.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Task;
use crate::effect::Effects;
use crate::error::panic_text;
use crate::error::{Cause, Failure, RecordError, TaskError};
use crate::moment::Moment;
use crate::policy::ErrorPolicy;
use crate::record::{OwnedRecord, RecordBatch, Timestamp};
use crate::task_context::{Origin, RecordMark};

/// The result of a step.
#[derive(Debug, Default)]
pub struct Step {
    /// How many records it processed, failed ones included.
    pub processed: usize,
    /// How much of `records_max` it used, within one: its records, and the due work that they had
    /// left.
    pub used: usize,
    /// Whether there is more to do right away.
    pub more: bool,
    /// Records that failed and were handled by the error policy. They are counted, and returned for
    /// the log.
    pub failed: Vec<RecordError>,
}

/// How a run over a batch ended.
enum RunEnd {
    /// At the limit, at the end of the batch, or because another input is older.
    Stopped,
    /// The record failed.
    Failed(Failure, Option<RecordMark>),
    /// The task failed.
    Ended(TaskError),
}

impl Task {
    /// Processes at most `records_max` queued records and appends their effects to `effects`. It
    /// may stop early.
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
        let mut retries = self.share_of_retries(records_max);
        while step.processed < records_max {
            // Due work comes before anything new. Otherwise a later record could still change a
            // window that should already be closed.
            if self.is_behind() && !self.catch_up(records_max, &mut step)? {
                break;
            }
            if self.tick(&mut step)? {
                continue;
            }
            if retries > 0 && self.try_again(&mut step)? {
                retries -= 1;
                continue;
            }
            let Some(input) = self.oldest_input() else { break };
            if self.may_hold(input) {
                self.step_one(input, &mut step)?;
            } else {
                self.step_input(input, records_max, &mut step)?;
            }
        }
        step.used += step.processed;
        step.more = self.has_more();
        Ok(step)
    }

    pub(super) fn step_input(
        &mut self,
        input: usize,
        records_max: usize,
        step: &mut Step,
    ) -> Result<(), TaskError> {
        let until = self.turn_ends_at(input);
        let Some((batch, first)) = self.inputs[input].take_batch() else { return Ok(()) };
        let limit = batch.len().min(first.saturating_add(records_max - step.processed));
        let mut next = first;
        let run = self.run_guarded(input, &*batch, &mut next, limit, until, &mut step.failed);
        let outcome = match run {
            RunEnd::Stopped => Ok(()),
            RunEnd::Ended(error) => Err(error),
            RunEnd::Failed(failure, mark) => {
                let outcome = self.failed(input, &*batch, next, failure, mark, &mut step.failed);
                if outcome.is_ok() {
                    self.pass(input, &*batch, next);
                    next += 1;
                }
                outcome
            }
        };
        step.processed += next - first;
        self.inputs[input].put_back(batch, next);
        outcome
    }

    /// Runs over the batch with one guard against panics of user code. `next` says which record it
    /// reached.
    fn run_guarded(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        next: &mut usize,
        limit: usize,
        until: Timestamp,
        failed: &mut Vec<RecordError>,
    ) -> RunEnd {
        let undoable = self.source(input).policy != ErrorPolicy::Fail;
        let has_agents = !self.inputs[input].agents.is_empty();
        let mut mark = None;
        let run = catch_unwind(AssertUnwindSafe(|| {
            while *next < limit && self.is_due(input, batch, *next, until) {
                if has_agents && self.has_lone_agent(input) {
                    match self.run_lone_agent(input, batch, *next..limit, failed) {
                        Ok(records) => *next += records,
                        Err(error) => return RunEnd::Ended(error),
                    }
                } else {
                    mark = self.begin(input, batch, *next, undoable);
                    if let Err(failure) = self.process(input, batch, *next) {
                        return RunEnd::Failed(failure, mark.take());
                    }
                    // The operators are finished with the record. What agents do with it must not
                    // undo them, so the mark is dropped.
                    if has_agents && mark.take().is_some() {
                        self.cx_mut().begin_record(false);
                    }
                    if has_agents && let Err(error) = self.run_agents(input, batch, *next, failed) {
                        return RunEnd::Ended(error);
                    }
                    self.pass(input, batch, *next);
                    *next += 1;
                }
                if self.is_behind() || (has_agents && self.inputs[input].waits_for_agents()) {
                    break;
                }
            }
            RunEnd::Stopped
        }));
        run.unwrap_or_else(|panic| {
            RunEnd::Failed(Cause::Panic(panic_text(&*panic)).into(), mark.take())
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
        // No other input waits, so the time need not be known.
        until == Timestamp::MAX || self.turn_time(self.source(input), &batch.record(index)) <= until
    }

    #[inline]
    pub(super) fn begin(
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
        cx.origin = Origin::of(input as u32, &record);
        cx.headers.clear();
        batch.headers(index, &mut cx.headers);
        cx.begin_record(undoable)
    }

    /// Runs a record through the operators.
    #[inline]
    fn process(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
    ) -> Result<(), Failure> {
        let record = batch.record(index);
        if record.offset < self.inputs[input].operators_from {
            return Ok(());
        }
        let topology = &*self.topology;
        let source = &topology.sub_topologies[self.id.sub_topology].sources[input];
        let Some(cx) = self.cx.as_mut() else { return Ok(()) };
        source.receivers.iter().try_for_each(|receiver| receiver.receive(&record, cx))
    }

    /// Marks the record as processed.
    #[inline]
    pub(super) fn pass(&mut self, input: usize, batch: &dyn RecordBatch, index: usize) {
        let record = batch.record(index);
        self.inputs[input].passed(&record);
        self.touched = true;
        let cx = self.cx_mut();
        cx.metrics.processed += 1;
        cx.latest = cx.latest.max(record.timestamp);
    }

    /// Undoes what a record did that failed in an operator, and applies the error policy. The
    /// agents of its input still get the record, because each reader decides for itself.
    fn failed(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
        failure: Failure,
        mark: Option<RecordMark>,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        // Checked first: if the task must stop, the policy must not skip the record.
        let cause = self.record_cause(failure)?;
        if let Some(mark) = mark {
            self.cx_mut().undo_record(mark);
        }
        failed.push(self.apply_policy(input, &OwnedRecord::of(batch, index), cause)?);
        if self.inputs[input].agents.is_empty() {
            return Ok(());
        }
        // An operator may have changed the headers before it failed.
        self.begin(input, batch, index, false);
        self.run_agents(input, batch, index, failed)
    }
}
