//! Stream time of an operator, and what it needs to close windows.

use crate::due::{Frontier, Pass};
use crate::record::Timestamp;

/// The number of a [`StreamClock`] in the topology.
pub(crate) type ClockIndex = usize;

/// Stream time of one operator, and what it needs to close windows.
#[derive(Clone, Debug)]
pub(crate) struct StreamClock {
    /// The highest timestamp that reached the operator; [`StreamClock::UNKNOWN`] before the first
    /// record.
    pub(crate) time: Timestamp,
    /// When the last record reached it, on the monotonic clock.
    pub(crate) arrival: Timestamp,
    /// The moment on that clock to which `time` belongs while the input is idle. If `time` is the
    /// last multiple of an interval, the moment to which it belongs as long as the task runs.
    pub(crate) anchor: Timestamp,
    /// What waits to be closed. For windows, only the time with which their names begin.
    pub(crate) first_open: Frontier,
    /// No window closes before stream time reaches this; [`StreamClock::UNKNOWN`] before the table
    /// was searched.
    pub(crate) next_close: Timestamp,
    /// What waits to be deleted.
    pub(crate) first_kept: Frontier,
    /// No window is deleted before stream time reaches this.
    pub(crate) next_forget: Timestamp,
    /// Everything that this stream time closes has been closed.
    pub(crate) closed_at: Timestamp,
    /// An unfinished pass that closes windows.
    pub(crate) closing: Option<Box<Pass>>,
    /// An unfinished pass that deletes windows. The windows that it has left count as deleted.
    pub(crate) forgetting: Option<Box<Pass>>,
    /// How many entries a buffer has, and their bytes; `None` before they were counted.
    pub(crate) held: Option<(u64, u64)>,
}

impl StreamClock {
    pub(crate) const UNKNOWN: Timestamp = Timestamp::MIN;

    pub(crate) fn new(time: Timestamp, elapsed: Timestamp) -> Self {
        Self {
            time,
            arrival: elapsed,
            anchor: elapsed,
            first_open: Frontier::unknown(),
            next_close: Self::UNKNOWN,
            first_kept: Frontier::unknown(),
            next_forget: Self::UNKNOWN,
            closed_at: time,
            closing: None,
            forgetting: None,
            held: None,
        }
    }
}
