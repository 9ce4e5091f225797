//! Time and commits: what a task does besides processing records.

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

/// What a task wants committed together with its effects.
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
    /// to read, even from a broker with outdated values. Call it only when all entries are
    /// acknowledged.
    pub fn note_changelog(&mut self, table: &str, end: i64) {
        let Some(first) = self.offsets.first_mut() else { return };
        let mut text = ProgressText::of(std::mem::take(&mut first.metadata));
        text.changelog(table, end);
        first.metadata = text.into_string();
    }
}

impl Task {
    /// Advances time: runs punctuations, windows of idle input, batches that are due, and agents
    /// that were woken. Returns records that failed and were handled. It is cheap when nothing is
    /// due.
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
        // Time does not advance while due work is left. Otherwise a punctuation or an idle window
        // would overtake windows that earlier records have closed.
        if !self.is_behind() {
            let cx = self.cx_mut();
            cx.headers.clear();
            cx.begin_record(false);
            self.hooks(|hook, cx| hook.on_time(cx))?;
        }
        let mut failed = Vec::new();
        self.cx_mut().begin_record(false);
        self.advance_agents(&mut failed)?;
        // An agent may have sent something without a record, when a timer fired.
        self.touched |= !self.cx().effects.is_empty();
        Ok(failed)
    }

    /// The time on the monotonic clock up to which everything for this task is known to be
    /// processed, if that advanced. Idle windows close by that time, never before a record that
    /// waits. While records are queued, nothing new is known.
    fn nothing_until(&self) -> Option<Timestamp> {
        self.is_idle().then(|| self.cx().elapsed)
    }

    /// Returns when [`advance`](Self::advance) next has something to do, in milliseconds on the
    /// monotonic clock ([`Moment::elapsed_ms`]). Other wake-ups of an agent also wake the worker
    /// that runs the task.
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

    /// Ends the batch. Appends the outputs that are sent once per commit and then the changelog
    /// records to `effects`, and returns the offsets that belong to it. What agents have not
    /// acknowledged is excluded: after a restart, those agents alone read these records again.
    pub fn prepare_commit(&mut self, effects: &mut Effects) -> Result<TaskCommit, TaskError> {
        self.lend_effects(effects, Self::write_commit)?;
        self.touched = false;
        Ok(TaskCommit { offsets: self.offsets().map_err(|error| self.stopped(error.into()))? })
    }

    fn write_commit(&mut self) -> Result<(), TaskError> {
        self.cx_mut().headers.clear();
        self.cx_mut().begin_record(false);
        // The hooks come before the changelogs: operators downstream of them may change tables, and
        // those changes belong to this commit.
        self.hooks(|hook, cx| hook.on_commit(cx))?;
        let partition = self.id.partition;
        let cx = self.cx_mut();
        cx.tables.write_changelogs(partition, cx.latest.max(0), &mut cx.effects);
        Ok(())
    }

    /// Applies a successful commit to the store. `positions` has, for each table, the changelog
    /// offset after the last record of this commit, or `None` if the table had none. `now` is the
    /// wall-clock time.
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

    /// Stream times are stored with the first input, and positions with the input that they
    /// concern.
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
        // The offset is that of the slowest reader. A reader that is ahead must skip the records in
        // between after a restart, or it would process them twice.
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

    /// Runs something for which no record is to blame. If it fails, the task does.
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
        // User code may have turned an error that must stop the task into a panic.
        let failure = self.cx_mut().stop.take().unwrap_or(failure);
        Err(self.stopped(failure))
    }
}
