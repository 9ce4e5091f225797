//! What a task counts.

/// Counters since the task was made; they only grow, but for a rewind, which does not take them
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetrics {
    /// Records processed, whatever became of them.
    pub processed: u64,
    /// Records that the error policy passed over.
    pub skipped: u64,
    /// Records that the error policy sent to a dead-letter topic.
    pub dead_lettered: u64,
    /// Records that were too late for every window.
    pub dropped_late: u64,
    /// Attempts at records that had failed before
    /// ([`ErrorPolicy::retry`](crate::ErrorPolicy::retry)).
    pub retries: u64,
    /// Records that wait to be tried again, and those that wait behind them: not a counter, but how
    /// many there are now.
    pub waiting: u64,
}

impl TaskMetrics {
    /// The counters without what is only true of the task as it is now: to go on counting from,
    /// when it is opened again.
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
