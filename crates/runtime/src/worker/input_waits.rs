//! What the tasks know of the ends of their inputs, and which inputs they wait for.
//!
//! A task takes records in the order of their timestamps. So an input without queued records holds
//! up the others until its log has said that it has nothing more (see `task/merge.rs` in the core).
//! How much longer the task waits then is configured by [`task_idle`](crate::Config::task_idle).

use std::collections::BTreeMap;
use std::time::Duration;

use streams_core::TopicPartition;

use super::Worker;
use super::running_tasks::{RunningInput, RunningTask};
use crate::config::TaskIdle;
use crate::status::InputProgress;
use crate::transport::FetchProgress;

/// How a task waits for one of its inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InputWait {
    /// Since when its queue has been empty while others had records. Once `task_idle` is over, the
    /// task does not wait again before this input has a record.
    empty_since: Option<Duration>,
    /// Since when, of that, its log has not said that it has nothing more.
    unanswered_since: Option<Duration>,
    /// Whether that was logged.
    is_logged: bool,
}

/// Notices that the process stood still. What its fetcher heard before that is out of date.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StallDetector {
    observed_at: Option<Duration>,
    /// The process stood still, and its fetcher has to listen until then.
    recovers_at: Duration,
}

/// A worker that has not looked at its inputs for this long has stood still. It listens for as long
/// afterwards, which is longer than an answer takes that was on its way.
const STALL: Duration = Duration::from_secs(1);

impl StallDetector {
    fn observe(&mut self, now: Duration) {
        let stood_still = self.observed_at.is_some_and(|at| now.saturating_sub(at) > STALL);
        if stood_still {
            self.recovers_at = now + STALL;
        }
        self.observed_at = Some(now);
    }

    /// Whether the fetcher has heard everything that was said since the process stood still.
    fn has_recovered(&self, now: Duration) -> bool {
        now >= self.recovers_at
    }
}

/// An input that has been waited for this long is logged and shown in the status.
const REPORTED_AFTER: Duration = Duration::from_secs(5);

impl Worker {
    /// Tells a task what is known of its inputs, just before it is stepped.
    pub(super) fn observe_inputs(&mut self, index: usize) {
        let now = self.clock.monotonic();
        self.stall_detector.observe(now);
        let is_current = self.stall_detector.has_recovered(now);
        let task_idle = self.config.task_idle;
        let RunningTask { assignment, task, inputs, .. } = self.tasks.get_mut(index);
        let has_queued = task.has_queued();
        // A single input never waits for others; and without records no input is waited for.
        let is_wanted = if has_queued { inputs.len() > 1 } else { task.minds_idleness() };
        if !is_wanted {
            return;
        }
        for (input, RunningInput { partition, wait, .. }) in inputs.iter_mut().enumerate() {
            let is_empty = task.queued(input) == 0;
            let at_end = self.fetcher.is_at_end(partition);
            if !is_empty {
                *wait = InputWait::default();
            } else if has_queued {
                wait.note_empty(at_end, now);
            } else {
                wait.unanswered_since = None;
            }
            // An answer from before a stall does not count: idle windows must not close early.
            let is_idle = at_end && is_current;
            task.observe(input, is_idle, wait.is_on(task_idle, at_end, now));
            if wait.should_be_logged(now) {
                wait.is_logged = true;
                tracing::warn!(
                    task = %assignment.task, %partition, waited = ?REPORTED_AFTER,
                    "the task waits for an input: its log has not said whether it has older \
                     records than the other inputs, whose records wait for that"
                );
            }
        }
    }

    /// When the first task will have waited long enough for records that its log does not have.
    pub(super) fn idle_ends_in(&self) -> Option<Duration> {
        let TaskIdle::Wait(idle) = self.config.task_idle else { return None };
        let now = self.clock.monotonic();
        let inputs = self.tasks.iter().flat_map(|running| &running.inputs);
        let ends = inputs.filter_map(|input| input.wait.empty_since?.checked_add(idle));
        ends.filter(|end| *end > now).min().map(|end| end - now)
    }
}

impl InputWait {
    /// Notes that the queue is empty while others have records.
    fn note_empty(&mut self, at_end: bool, now: Duration) {
        self.empty_since.get_or_insert(now);
        if at_end {
            self.unanswered_since = None;
            self.is_logged = false;
        } else {
            self.unanswered_since.get_or_insert(now);
        }
    }

    /// Whether the task waits for the input's next record, should nothing be queued.
    fn is_on(&self, task_idle: TaskIdle, at_end: bool, now: Duration) -> bool {
        match task_idle {
            TaskIdle::Off => false,
            TaskIdle::Wait(idle) => {
                let waited = self.empty_since.map_or(Duration::ZERO, |since| now - since);
                !at_end || waited < idle
            }
        }
    }

    fn is_long(&self, now: Duration) -> bool {
        self.unanswered_since.is_some_and(|since| now - since >= REPORTED_AFTER)
    }

    fn should_be_logged(&self, now: Duration) -> bool {
        !self.is_logged && self.is_long(now)
    }
}

impl RunningTask {
    /// What the status shows of the inputs.
    pub(super) fn input_progress(
        &self,
        fetched: &BTreeMap<TopicPartition, FetchProgress>,
        now: Duration,
    ) -> Vec<InputProgress> {
        let inputs = self.inputs.iter().zip(self.task.positions()).enumerate();
        let progress = inputs.map(|(number, (input, processed))| {
            let fetched = fetched.get(&input.partition);
            // After the last record there may be commit markers, which only the fetcher sees.
            let passed = fetched.filter(|_| self.task.queued(number) == 0);
            let position = passed.map_or(processed, |fetched| fetched.position.max(processed));
            let lag = fetched.map(|fetched| (fetched.end - position).max(0));
            InputProgress { position: processed, lag, awaited: input.wait.is_long(now) }
        });
        progress.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_input_is_waited_for_until_its_log_has_answered_and_then_as_configured() {
        let mut wait = InputWait::default();
        let off = TaskIdle::Off;
        let zero = TaskIdle::default();
        let two = TaskIdle::Wait(2 * SECOND);
        wait.note_empty(false, SECOND);
        assert!(!wait.is_on(off, false, SECOND));
        assert!(wait.is_on(zero, false, 9 * SECOND) && wait.is_on(two, false, 9 * SECOND));
        wait.note_empty(true, 2 * SECOND);
        assert!(!wait.is_on(zero, true, 2 * SECOND));
        assert!(wait.is_on(two, true, 2 * SECOND) && !wait.is_on(two, true, 3 * SECOND));
    }

    #[test]
    fn after_a_stall_the_worker_listens_before_it_takes_inputs_for_idle() {
        let mut detector = StallDetector::default();
        for tenths in 1..30 {
            detector.observe(SECOND * tenths / 10);
            assert!(detector.has_recovered(SECOND * tenths / 10));
        }
        detector.observe(9 * SECOND);
        assert!(!detector.has_recovered(9 * SECOND));
        detector.observe(SECOND * 99 / 10);
        assert!(!detector.has_recovered(SECOND * 99 / 10) && detector.has_recovered(10 * SECOND));
    }

    #[test]
    fn an_input_whose_log_does_not_answer_is_logged_after_five_seconds() {
        let mut wait = InputWait::default();
        wait.note_empty(false, SECOND);
        assert!(!wait.should_be_logged(5 * SECOND) && wait.should_be_logged(6 * SECOND));
        wait.note_empty(true, 7 * SECOND);
        assert!(!wait.is_long(20 * SECOND));
    }
}
