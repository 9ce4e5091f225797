//! What the tasks know of the ends of their inputs, and which inputs they wait for.
//!
//! A task takes records in the order of their timestamps, so an input without queued records holds
//! up the others until its log has said that there is nothing more (see `task/merge.rs` in the
//! core). How much longer the task waits then is the configuration's
//! [`task_idle`](crate::Config::task_idle).

use std::collections::BTreeMap;
use std::time::Duration;

use streams_core::TopicPartition;

use super::{ActiveTask, Worker};
use crate::config::TaskIdle;
use crate::status::InputProgress;
use crate::transport::FetchProgress;

/// How a task waits for one of its inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InputWait {
    /// Since when its queue has been empty while others had records. Once `task_idle` is over, the
    /// task does not wait again before this input has a record.
    empty_since: Option<Duration>,
    /// Since when, of that, its log has not said that there is nothing more.
    unheard_since: Option<Duration>,
    /// The log has a line about that.
    is_logged: bool,
}

/// When a worker last had the time to hear from its fetcher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StallDetector {
    looked_at: Option<Duration>,
    /// It stood still before this, and has not listened for long enough since.
    listens_to: Duration,
}

/// For how long a worker must not have looked to count as having stood still, and how long it
/// listens then: longer than an answer takes that was on its way.
const LISTENS: Duration = Duration::from_secs(1);

impl StallDetector {
    fn look(&mut self, now: Duration) {
        let stood_still = self.looked_at.is_some_and(|at| now.saturating_sub(at) > LISTENS);
        if stood_still {
            self.listens_to = now + LISTENS;
        }
        self.looked_at = Some(now);
    }

    /// Whether what is not there is known not to be there. A process that stood still as a whole
    /// wakes up with what its fetcher heard before.
    fn is_full(&self, now: Duration) -> bool {
        now >= self.listens_to
    }
}

/// An input that has been waited for this long is named.
const NAMED_AFTER: Duration = Duration::from_secs(5);

impl Worker {
    /// Tells a task what is known of its inputs, just before it is stepped.
    pub(super) fn observe_inputs(&mut self, index: usize) {
        let now = self.clock.monotonic();
        self.stall_detector.look(now);
        let has_heard = self.stall_detector.is_full(now);
        let task_idle = self.config.task_idle;
        let ActiveTask { assignment, task, waits, .. } = &mut self.tasks[index];
        let has_queued = task.has_queued();
        // One input needs nobody else's records; and without records nobody waits.
        let is_wanted = if has_queued { waits.len() > 1 } else { task.minds_idleness() };
        if !is_wanted {
            return;
        }
        for (input, (partition, waits)) in assignment.partitions.iter().zip(waits).enumerate() {
            let is_empty = task.queued(input) == 0;
            let at_end = self.fetcher.is_at_end(partition);
            if !is_empty {
                *waits = InputWait::default();
            } else if has_queued {
                waits.note(at_end, now);
            } else {
                waits.unheard_since = None;
            }
            // For what must not happen too early an answer from before a standstill is none.
            let is_idle = at_end && has_heard;
            task.observe(input, is_idle, waits.are_on(task_idle, at_end, now));
            if waits.should_be_logged(now) {
                waits.is_logged = true;
                tracing::warn!(
                    task = %assignment.task, %partition, waited = ?NAMED_AFTER,
                    "the task waits for an input: its log has not said whether there are older \
                     records, and those of other inputs wait for that"
                );
            }
        }
    }

    /// When the first task has waited long enough for data that its log does not have.
    pub(super) fn idle_ends_in(&self) -> Option<Duration> {
        let TaskIdle::Wait(idle) = self.config.task_idle else { return None };
        let now = self.clock.monotonic();
        let waits = self.tasks.iter().flat_map(|active| &active.waits);
        let ends = waits.filter_map(|waits| waits.empty_since?.checked_add(idle));
        ends.filter(|end| *end > now).min().map(|end| end - now)
    }
}

impl InputWait {
    fn note(&mut self, at_end: bool, now: Duration) {
        self.empty_since.get_or_insert(now);
        if at_end {
            self.unheard_since = None;
            self.is_logged = false;
        } else {
            self.unheard_since.get_or_insert(now);
        }
    }

    /// Whether the input's next record is to be waited for, should nothing be queued.
    fn are_on(&self, task_idle: TaskIdle, at_end: bool, now: Duration) -> bool {
        match task_idle {
            TaskIdle::Off => false,
            TaskIdle::Wait(idle) => {
                let waited = self.empty_since.map_or(Duration::ZERO, |since| now - since);
                !at_end || waited < idle
            }
        }
    }

    fn is_named(&self, now: Duration) -> bool {
        self.unheard_since.is_some_and(|since| now - since >= NAMED_AFTER)
    }

    fn should_be_logged(&self, now: Duration) -> bool {
        !self.is_logged && self.is_named(now)
    }
}

impl ActiveTask {
    /// What the status says of the inputs.
    pub(super) fn input_progress(
        &self,
        fetched: &BTreeMap<TopicPartition, FetchProgress>,
        now: Duration,
    ) -> Vec<InputProgress> {
        let partitions = self.assignment.partitions.iter().zip(self.task.positions());
        let inputs = partitions.zip(&self.waits).enumerate();
        let progress = inputs.map(|(input, ((partition, processed), waits))| {
            let fetched = fetched.get(partition);
            // Behind the last record there may be commit markers, which only the fetcher sees.
            let passed = fetched.filter(|_| self.task.queued(input) == 0);
            let position = passed.map_or(processed, |fetched| fetched.position.max(processed));
            let lag = fetched.map(|fetched| (fetched.end - position).max(0));
            InputProgress { position: processed, lag, awaited: waits.is_named(now) }
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
        let mut waits = InputWait::default();
        let [off, zero, two] = [TaskIdle::Off, TaskIdle::default(), TaskIdle::Wait(2 * SECOND)];
        waits.note(false, SECOND);
        assert!(!waits.are_on(off, false, SECOND));
        assert!(waits.are_on(zero, false, 9 * SECOND) && waits.are_on(two, false, 9 * SECOND));
        waits.note(true, 2 * SECOND);
        assert!(!waits.are_on(zero, true, 2 * SECOND));
        assert!(waits.are_on(two, true, 2 * SECOND) && !waits.are_on(two, true, 3 * SECOND));
    }

    #[test]
    fn a_worker_that_stood_still_listens_before_it_takes_inputs_for_idle() {
        let mut stall_detector = StallDetector::default();
        for tenths in 1..30 {
            stall_detector.look(SECOND * tenths / 10);
            assert!(stall_detector.is_full(SECOND * tenths / 10));
        }
        stall_detector.look(9 * SECOND);
        assert!(!stall_detector.is_full(9 * SECOND));
        stall_detector.look(SECOND * 99 / 10);
        assert!(!stall_detector.is_full(SECOND * 99 / 10) && stall_detector.is_full(10 * SECOND));
    }

    #[test]
    fn an_input_that_says_nothing_is_named_after_seconds() {
        let mut waits = InputWait::default();
        waits.note(false, SECOND);
        assert!(!waits.should_be_logged(5 * SECOND) && waits.should_be_logged(6 * SECOND));
        waits.note(true, 7 * SECOND);
        assert!(!waits.is_named(20 * SECOND));
    }
}
