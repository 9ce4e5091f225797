//! What a windowed aggregation keeps between records.

use crate::due::Pass;
use crate::operator_state::OperatorState;
use crate::record::Timestamp;
use crate::stream_clock::StreamClock;

/// What one operator of a windowed table keeps between records.
#[derive(Clone, Default)]
pub(crate) struct WindowState {
    /// The table's windows that wait to be closed. The first operator on the table has them for all
    /// of its operators.
    pub(super) open: OpenWindows,
    /// The windows that the operator has written and that wait to be deleted.
    pub(super) retained: RetainedWindows,
}

impl OperatorState for WindowState {}

/// Windows that wait to be closed.
#[derive(Clone)]
pub(super) struct OpenWindows {
    /// No window that waits has a name that begins with an earlier time;
    /// [`StreamClock::UNKNOWN`] before the table was searched, `Timestamp::MAX` while none waits.
    pub(super) first: Timestamp,
    /// No window closes before stream time reaches this; [`StreamClock::UNKNOWN`] before the table
    /// was searched.
    pub(super) next_close: Timestamp,
    /// Everything that this stream time closes has been closed.
    pub(super) closed_at: Timestamp,
    /// An unfinished pass that closes windows.
    pub(super) closing: Option<Box<Pass>>,
}

impl Default for OpenWindows {
    fn default() -> Self {
        Self {
            first: StreamClock::UNKNOWN,
            next_close: StreamClock::UNKNOWN,
            closed_at: StreamClock::UNKNOWN,
            closing: None,
        }
    }
}

impl OpenWindows {
    /// Whether any may close at this stream time.
    #[inline]
    pub(super) fn has_due(&self, time: Timestamp) -> bool {
        (self.next_close <= time || self.closing.is_some()) && time != StreamClock::UNKNOWN
    }

    /// Notes a window whose name begins with `time` and that is closed at `close_at`.
    #[inline]
    pub(super) fn add(&mut self, time: Timestamp, close_at: Timestamp) {
        self.first = self.first.min(time);
        self.next_close = self.next_close.min(close_at);
    }
}

/// Windows that wait to be deleted.
#[derive(Clone)]
pub(super) struct RetainedWindows {
    /// No window that waits has a name that begins with an earlier time, as in [`OpenWindows`].
    pub(super) first: Timestamp,
    /// No window is deleted before stream time reaches this.
    pub(super) next_delete: Timestamp,
    /// An unfinished pass that deletes windows. The windows that it has left count as deleted.
    pub(super) deleting: Option<Box<Pass>>,
}

impl Default for RetainedWindows {
    fn default() -> Self {
        Self { first: StreamClock::UNKNOWN, next_delete: StreamClock::UNKNOWN, deleting: None }
    }
}

impl RetainedWindows {
    /// Whether any may be deleted at this stream time.
    #[inline]
    pub(super) fn has_due(&self, time: Timestamp) -> bool {
        (self.next_delete <= time || self.deleting.is_some()) && time != StreamClock::UNKNOWN
    }

    /// Notes a window whose name begins with `time` and that is deleted at `delete_at`.
    #[inline]
    pub(super) fn add(&mut self, time: Timestamp, delete_at: Timestamp) {
        self.first = self.first.min(time);
        self.next_delete = self.next_delete.min(delete_at);
    }
}
