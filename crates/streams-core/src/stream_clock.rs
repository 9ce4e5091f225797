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
    /// When the last record reached it, by the clock that never goes back.
    pub(crate) arrival: Timestamp,
    /// The moment by that clock that `time` belongs to while the input is idle, or, if `time` is
    /// the last multiple of an interval, as long as the task runs.
    pub(crate) anchor: Timestamp,
    /// What waits to be closed. Of windows the time alone, with which their names begin.
    pub(crate) first_open: Frontier,
    /// No window closes before stream time is this; [`StreamClock::UNKNOWN`] until somebody has
    /// looked.
    pub(crate) next_close: Timestamp,
    /// What waits to be forgotten.
    pub(crate) first_kept: Frontier,
    /// No window is to be forgotten before stream time is this.
    pub(crate) next_forget: Timestamp,
    /// Everything that this stream time closes was closed.
    pub(crate) closed_at: Timestamp,
    /// Windows are being closed, and some are left.
    pub(crate) closing: Option<Box<Pass>>,
    /// Windows are being forgotten: what is left of them counts as gone.
    pub(crate) forgetting: Option<Box<Pass>>,
    /// How many entries a buffer has, and their bytes; `None` until somebody has counted.
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
