//! The counters of a task.

/// Counters since the task was created. They never decrease; a rewind does not subtract what it
/// undoes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetrics {
    /// Records processed, whatever their outcome.
    pub processed: u64,
    /// Records that the error policy skipped.
    pub skipped: u64,
    /// Records that the error policy sent to a dead-letter topic.
    pub dead_lettered: u64,
    /// Records that were too late for every window.
    pub dropped_late: u64,
    /// Repeated attempts at failed records ([`ErrorPolicy::retry`](crate::ErrorPolicy::retry)).
    pub retries: u64,
    /// The current number of records that wait for a retry, or for the retry of an earlier record.
    /// Unlike the others, it is not a counter.
    pub waiting: u64,
}

impl TaskMetrics {
    /// Returns the counters without values that only describe the current state, so that counting
    /// can continue when the task is opened again.
    #[must_use]
    pub fn counters(self) -> Self {
        Self { waiting: 0, ..self }
    }
}

impl std::ops::Add for TaskMetrics {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            processed: self.processed + other.processed,
            skipped: self.skipped + other.skipped,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            dropped_late: self.dropped_late + other.dropped_late,
            retries: self.retries + other.retries,
            waiting: self.waiting + other.waiting,
        }
    }
}
