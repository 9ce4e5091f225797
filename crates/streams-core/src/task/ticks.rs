//! The ticks of a task. They come before any record, one per turn of a step, and each counts as a
//! record of the input that it belongs to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::progress::{Progress, ProgressText};
use super::{Resume, Step, Task};
use crate::error::panic_text;
use crate::error::{Cause, Failure, RecordError, TaskError};
use crate::policy::ErrorPolicy;
use crate::record::{Headers, OwnedRecord, Record, Timestamp};
use crate::task_context::{Origin, RecordMark};
use crate::tick::{Tick, TickSource, Ticking};

impl Task {
    /// Resumes after the ticks that were committed.
    pub(super) fn resume_ticks(&mut self, inputs: &[Resume]) {
        let now = self.cx().moment();
        // `resume` has already checked the metadata.
        let progress: Vec<_> =
            inputs.iter().map(|one| Progress::parse(&one.metadata).unwrap_or_default()).collect();
        let kept = |name: &str| {
            let times = progress.iter().map(|progress| progress.time(name));
            times.filter(|time| *time != Timestamp::MIN).max()
        };
        let ticking = self.sub_topology().ticks.iter().map(|source| {
            let last = kept(&source.last_name);
            let done = kept(&source.done_name);
            Ticking::resume(&source.schedule, last, done, now)
        });
        self.ticks = ticking.collect();
    }

    /// Writes the progress of the ticks.
    pub(super) fn write_ticks(&self, text: &mut ProgressText) {
        for (ticking, source) in self.ticks.iter().zip(&self.sub_topology().ticks) {
            text.time(&source.last_name, ticking.last);
            text.time(&source.done_name, ticking.done);
        }
    }

    /// Whether a tick is due.
    pub(super) fn has_tick(&self) -> bool {
        let now = self.cx().moment();
        let mut sources = self.ticks.iter().zip(&self.sub_topology().ticks);
        sources.any(|(ticking, source)| ticking.is_due(&source.schedule, now))
    }

    /// When the next tick that is not yet due will be, on the monotonic clock.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        let now = self.cx().moment();
        let sources = self.ticks.iter().zip(&self.sub_topology().ticks);
        sources.filter_map(|(ticking, source)| ticking.wakes_at(&source.schedule, now)).min()
    }

    /// Processes one tick, if one is due. Returns `false` if none is.
    pub(super) fn tick(&mut self, step: &mut Step) -> Result<bool, TaskError> {
        if self.ticks.is_empty() {
            return Ok(false);
        }
        let now = self.cx().moment();
        let topology = Arc::clone(&self.topology);
        let sources = &topology.sub_topologies[self.id.sub_topology].ticks;
        for (ticking, source) in self.ticks.iter_mut().zip(sources) {
            ticking.follow(&source.schedule, now);
        }
        let due = self.ticks.iter().zip(sources).enumerate();
        let due = due.filter(|(_, (ticking, source))| ticking.is_due(&source.schedule, now));
        let Some((index, _)) = due.min_by_key(|(_, (ticking, _))| ticking.next()) else {
            return Ok(false);
        };
        let source = &sources[index];
        if let Some(tick) = self.ticks[index].take(&source.schedule, source.missed, now) {
            self.hand_out(source, tick, step)?;
            step.processed += 1;
        }
        Ok(true)
    }

    /// Sends a tick to its receiver. If that fails, the error policy decides as for a record, and
    /// the tick counts as done.
    fn hand_out(
        &mut self,
        source: &TickSource,
        tick: Tick,
        step: &mut Step,
    ) -> Result<(), TaskError> {
        let record = Record::new(source.name.clone(), tick, tick.time);
        let mark = self.begin_tick(source, tick);
        self.touched = true;
        let cx = self.cx_mut();
        let run = catch_unwind(AssertUnwindSafe(|| source.next.receive(record, cx)));
        let run = run.unwrap_or_else(|panic| Err(Cause::Panic(panic_text(&*panic)).into()));
        if let Err(failure) = run {
            step.failed.push(self.tick_failed(source, tick, failure, mark)?);
        }
        let cx = self.cx_mut();
        cx.metrics.processed += 1;
        cx.latest = cx.latest.max(tick.time);
        Ok(())
    }

    /// Undoes the effects of a failed tick and applies the error policy to it. If that is a retry,
    /// the policy after the retries applies.
    fn tick_failed(
        &mut self,
        source: &TickSource,
        tick: Tick,
        failure: Failure,
        mark: Option<RecordMark>,
    ) -> Result<RecordError, TaskError> {
        let cause = Box::new(self.record_cause(failure)?);
        if let Some(mark) = mark {
            self.cx_mut().undo_record(mark);
        }
        let record = self.as_record(source, tick);
        let stream = source.name.as_str().into();
        let cause = Cause::Tick { stream, time: tick.time, cause };
        // A tick is not a record that could be read again.
        let policy = self.source(source.input).policy.without_retries().clone();
        self.end(source.input, &record, cause, &policy)
    }

    fn begin_tick(&mut self, source: &TickSource, tick: Tick) -> Option<RecordMark> {
        let undoable = self.source(source.input).policy != ErrorPolicy::Fail;
        let offset = self.inputs[source.input].position();
        let cx = self.cx_mut();
        cx.max_ahead_ms = None;
        cx.origin = Origin { input: source.input as u32, offset, timestamp: tick.time };
        cx.headers.clear();
        cx.begin_record(undoable)
    }

    /// The record from which its dead letter is made.
    fn as_record(&self, source: &TickSource, tick: Tick) -> OwnedRecord {
        OwnedRecord {
            offset: self.inputs[source.input].position(),
            timestamp: tick.time,
            key: Some(source.name.as_bytes().into()),
            value: serde_json::to_vec(&tick).ok().map(Into::into),
            headers: Headers::new(),
        }
    }
}
