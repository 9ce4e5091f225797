//! Stream time of an operator, which is committed with the offsets.

use crate::record::Timestamp;

/// The number of a [`StreamClock`] in the topology.
pub(crate) type ClockIndex = usize;

/// Stream time of one operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamClock {
    /// The highest timestamp that reached the operator; [`StreamClock::UNKNOWN`] before the first
    /// record. It is committed.
    pub(crate) time: Timestamp,
    /// When the last record reached it, on the monotonic clock.
    pub(crate) arrival: Timestamp,
    /// The moment on that clock to which `time` belongs while the input is idle. If `time` is the
    /// last multiple of an interval, the moment to which it belongs as long as the task runs.
    pub(crate) anchor: Timestamp,
}

impl StreamClock {
    pub(crate) const UNKNOWN: Timestamp = Timestamp::MIN;

    pub(crate) fn new(time: Timestamp, elapsed: Timestamp) -> Self {
        Self { time, arrival: elapsed, anchor: elapsed }
    }
}

/// A count that only grows and is committed with the offsets. Among them it looks like a stream
/// time: their format has one kind of number, and a restart must find what earlier versions wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommittedCount(pub(crate) ClockIndex);

impl CommittedCount {
    /// Counts one more, and returns the count.
    pub(crate) fn next(self, clocks: &mut [StreamClock]) -> i64 {
        let count = &mut clocks[self.0].time;
        *count = (*count).max(0).wrapping_add(1);
        *count
    }
}
