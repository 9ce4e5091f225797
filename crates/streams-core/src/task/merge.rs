//! The inputs of a task, merged by timestamp.
//!
//! A task takes the oldest record among the heads of its queues, but only when no input can still
//! have an older one: each input either has a queued record or need not be waited for. So the order
//! depends only on the input, not on what was fetched first. The rule is Kafka Streams' (KIP-353,
//! KIP-695).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Task;
use crate::operators::is_acceptable;
use crate::record::{RawRecord, Timestamp};
use crate::topology::Source;

impl Task {
    /// Reports what is known of an input's log beyond the queue: whether it has nothing more, and
    /// whether the task must wait for its next record. Both hold until the next call. Without a
    /// call the log may have more, and the task waits for it.
    pub fn observe(&mut self, input: usize, at_end: bool, awaited: bool) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.at_end = at_end;
            input.awaited = awaited && !input.is_ticks;
        }
    }

    /// Whether a step would process a record or a tick or do more due work, or
    /// [`advance`](Self::advance) would run an agent.
    pub fn is_ready(&self) -> bool {
        self.has_woken_agents() || self.has_more()
    }

    /// Whether a step would do something.
    pub(super) fn has_more(&self) -> bool {
        let has_record = || self.has_queued() && self.missing().next().is_none();
        self.is_behind()
            || self.has_due_retry()
            || self.has_tick()
            || (has_record() && !self.waits_for_agents())
    }

    /// The inputs without a queued record that the task waits for, while others have some.
    pub fn missing(&self) -> impl Iterator<Item = usize> {
        let waits = self.inputs.len() > 1 && self.has_queued();
        let inputs = self.inputs.iter().enumerate().filter(move |_| waits);
        inputs.filter(|(_, input)| input.is_empty() && input.awaited).map(|(number, _)| number)
    }

    /// Whether any input has a record queued.
    pub fn has_queued(&self) -> bool {
        self.inputs.iter().any(|input| !input.is_empty())
    }

    /// Whether everything known is processed: nothing is queued, each log has reported that it has
    /// nothing more, and no due work is left.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_behind()
            && !self.has_due_retry()
            && !self.awaits_results()
            && self.inputs.iter().all(|input| input.is_empty() && input.at_end)
    }

    /// Whether it does something after being idle for a while, so that it must
    /// [know](Self::observe) whether it is.
    pub fn minds_idleness(&self) -> bool {
        self.sub_topology().hooks.iter().any(|hook| hook.minds_idleness())
    }

    /// The input whose next record is the oldest; of several, the first. `None` also while the task
    /// waits for an input without queued records.
    pub(super) fn oldest_input(&mut self) -> Option<usize> {
        if self.waits_for_agents() {
            return None;
        }
        if let [only] = &*self.inputs {
            return (!only.is_empty()).then_some(0);
        }
        let mut oldest = None;
        for number in 0..self.inputs.len() {
            match self.head_time(number) {
                Some(time) if oldest.is_none_or(|(least, _)| time < least) => {
                    oldest = Some((time, number));
                }
                // It may still get an older record, and no other input may overtake that.
                None if self.inputs[number].awaited => return None,
                _ => {}
            }
        }
        oldest.map(|(_, number)| number)
    }

    /// The time up to which an input's records come before the waiting records of the others. At
    /// equal times the earlier input comes first, wherever a batch happens to end.
    pub(super) fn turn_ends_at(&mut self, input: usize) -> Timestamp {
        let mut end = Timestamp::MAX;
        for other in (0..self.inputs.len()).filter(|other| *other != input) {
            if let Some(time) = self.head_time(other) {
                end = end.min(if other < input { time.saturating_sub(1) } else { time });
            }
        }
        end
    }

    /// The time that decides the turn of an input's next record.
    fn head_time(&mut self, number: usize) -> Option<Timestamp> {
        let input = &self.inputs[number];
        if let Some(time) = input.head_time {
            return Some(time);
        }
        let (batch, index) = input.peek()?;
        let time = self.turn_time(self.source(number), &batch.record(index));
        self.inputs[number].head_time = Some(time);
        Some(time)
    }

    /// The time that decides a record's turn. A record whose timestamp will be refused has its turn
    /// at once, because its date does not count.
    pub(super) fn turn_time(&self, source: &Source, record: &RawRecord<'_>) -> Timestamp {
        let time = source.turn_time(record);
        let is_refused = |max_ms| !is_acceptable(time, self.cx().now, Some(max_ms));
        if source.max_ahead_ms.is_some_and(is_refused) { Timestamp::MIN } else { time }
    }
}

impl Source {
    /// The time that decides a record's turn among those of other inputs: its event time, or its
    /// own timestamp if none can be extracted. It is the least possible time if the timestamp will
    /// be refused.
    pub fn turn_time(&self, record: &RawRecord<'_>) -> Timestamp {
        let time = self.event_time(record).unwrap_or(record.timestamp);
        if is_acceptable(time, 0, None) { time } else { Timestamp::MIN }
    }

    /// The lowest time that an extractor finds; `None` if there is no extractor, or if none
    /// succeeds. In that case the error is handled when the record's turn comes.
    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp> {
        if !self.extracts_times {
            return None;
        }
        // This runs user code for a record that is not being processed, so a panic must not count
        // against the current record. The panic occurs again when the record is processed.
        let extracted = || {
            let operators = self.receivers.iter().filter_map(|one| one.event_time(record));
            operators.chain(self.agents.iter().filter_map(|one| one.event_time(record))).min()
        };
        catch_unwind(AssertUnwindSafe(extracted)).unwrap_or_default()
    }
}
