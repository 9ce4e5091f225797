//! Time and commits: what a task does other than process records.

use std::sync::Arc;

use super::Task;
use super::progress::{Progress, ProgressText};
use crate::effect::Effects;
use crate::error::{Failure, RecordError, TaskError};
use crate::moment::Moment;
use crate::operators::Hook;
use crate::record::Timestamp;
use crate::store::StoreError;
use crate::stream_clock::StreamClock;
use crate::task_context::TaskContext;

/// What a task asks to have committed together with its effects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskCommit {
    /// The offsets of its inputs.
    pub offsets: Vec<InputOffset>,
}

/// The offset to commit for one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputOffset {
    /// The input's number.
    pub input: usize,
    /// The next offset to process.
    pub offset: i64,
    /// Text to commit with it.
    pub metadata: String,
}

impl TaskCommit {
    /// Notes where the changelog of a table ends with this commit, so that a restart knows how far
    /// it must be read, whoever it asks. Only when all entries are acknowledged.
    pub fn note_changelog(&mut self, table: &str, end: i64) {
        let Some(first) = self.offsets.first_mut() else { return };
        let mut text = ProgressText::of(std::mem::take(&mut first.metadata));
        text.changelog(table, end);
        first.metadata = text.into_string();
    }
}

impl Task {
    /// Lets time pass: punctuations, windows of idle input, batches whose time has come, agents
    /// that were woken. Returns records that failed and were dealt with. Cheap when nothing is due.
    pub fn advance(
        &mut self,
        now: impl Into<Moment>,
        effects: &mut Effects,
    ) -> Result<Vec<RecordError>, TaskError> {
        self.cx_mut().set_moment(now.into());
        self.lend_effects(effects, Self::advance_inside)
    }

    fn advance_inside(&mut self) -> Result<Vec<RecordError>, TaskError> {
        if let Some(until) = self.nothing_until() {
            self.cx_mut().nothing_until = until;
        }
        // Time does not pass while there is something to do from before.
        if !self.is_behind() {
            let cx = self.cx_mut();
            cx.headers.clear();
            cx.begin_record(false);
            self.hooks(|hook, cx| hook.on_time(cx))?;
        }
        let mut failed = Vec::new();
        self.cx_mut().begin_record(false);
        self.advance_agents(&mut failed)?;
        // Also what an agent has sent without a record, when a timer was due.
        self.touched |= !self.cx().effects.is_empty();
        Ok(failed)
    }

    /// Up to when, by the clock that never goes back, it is known that all there was for this task
    /// was processed, if that is known to be later than it was: idle windows close by that moment,
    /// never before a record that waits. As long as records are queued nothing new is known.
    fn nothing_until(&self) -> Option<Timestamp> {
        self.is_idle().then(|| self.cx().elapsed)
    }

    /// When [`advance`](Self::advance) has something to do, in milliseconds by the clock that never
    /// goes back ([`Moment::elapsed_ms`]). What wakes an agent otherwise wakes whoever drives the
    /// task, too.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let cx = self.cx();
        let hooks = self.sub_topology().hooks.iter();
        let hooks = hooks.filter_map(|hook| hook.next_wakeup(cx));
        let others = [self.agents_deadline(), self.next_retry(), self.next_tick()];
        hooks.chain(others.into_iter().flatten()).min()
    }

    /// Whether there is anything to commit.
    pub fn is_dirty(&self) -> bool {
        self.touched || self.cx().tables.is_dirty()
    }

    /// Ends the batch: appends what is sent once per commit, then the changelog records, to
    /// `effects`, and tells which offsets belong to it. What agents have not acknowledged is not
    /// part of it: they, and they alone, come back to those records after a restart.
    pub fn prepare_commit(&mut self, effects: &mut Effects) -> Result<TaskCommit, TaskError> {
        self.lend_effects(effects, Self::write_commit)?;
        self.touched = false;
        Ok(TaskCommit { offsets: self.offsets().map_err(|error| self.stopped(error.into()))? })
    }

    fn write_commit(&mut self) -> Result<(), TaskError> {
        self.cx_mut().headers.clear();
        self.cx_mut().begin_record(false);
        self.hooks(|hook, cx| hook.on_commit(cx))?;
        let partition = self.id.partition;
        let cx = self.cx_mut();
        cx.tables.write_changelogs(partition, cx.latest.max(0), &mut cx.effects);
        Ok(())
    }

    /// The commit is known to have succeeded: brings the store to it. `positions` holds for each
    /// table the changelog offset behind the last record of this commit, `None` for a table
    /// that had none; `now` is the wall-clock time.
    pub fn committed(
        &mut self,
        positions: &[Option<i64>],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.cx_mut().tables.apply(positions, now)
    }

    fn offsets(&self) -> Result<Vec<InputOffset>, StoreError> {
        let inputs = self.inputs.iter().enumerate();
        inputs
            .map(|(input, queue)| {
                let offset = queue.committable();
                let metadata = self.metadata(input, offset)?;
                Ok(InputOffset { input, offset, metadata })
            })
            .collect()
    }

    /// Stream times go with the first input; positions with the input that they are about.
    fn metadata(&self, input: usize, offset: i64) -> Result<String, StoreError> {
        let mut text = ProgressText::default();
        let sub = self.sub_topology();
        let queue = &self.inputs[input];
        if input == 0 {
            for &clock in &sub.clocks {
                let time = self.cx().clocks[clock].time;
                if time != StreamClock::UNKNOWN {
                    text.time(&self.topology.clock_names[clock], time);
                }
            }
        }
        let operators = queue.operators_from.max(queue.position());
        if operators > offset {
            text.position(Progress::OPERATORS, operators);
        }
        for (slot, agent) in queue.agents.iter().zip(&sub.sources[input].agents) {
            let position = slot.acknowledged(queue.position());
            if position > offset {
                text.position(agent.name(), position);
            }
        }
        if input == 0 {
            self.write_ticks(&mut text);
            self.write_cursors(&mut text)?;
        }
        Ok(text.into_string())
    }

    fn hooks(
        &mut self,
        mut act: impl FnMut(&dyn Hook, &mut TaskContext) -> Result<(), Failure>,
    ) -> Result<(), TaskError> {
        let topology = Arc::clone(&self.topology);
        for hook in &topology.sub_topologies[self.id.sub_topology].hooks {
            self.guarded(|cx| act(&**hook, cx))?;
        }
        Ok(())
    }

    /// Does something that no record is to blame for: if it fails, the task does.
    pub(super) fn guarded(
        &mut self,
        act: impl FnOnce(&mut TaskContext) -> Result<(), Failure>,
    ) -> Result<(), TaskError> {
        let run = || act(self.cx_mut());
        let guarded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let failure = match guarded {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(panic) => crate::error::Cause::Panic(crate::error::panic_text(&*panic)).into(),
        };
        // User code may have made a panic of what must stop the task.
        let failure = self.cx_mut().stop.take().unwrap_or(failure);
        Err(self.stopped(failure))
    }
}
