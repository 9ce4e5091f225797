//! Which records of two streams are joined.

use std::time::Duration;

use super::millis;

/// Which records of two streams match: those whose timestamps are close enough.
///
/// ```
/// use std::time::Duration;
/// use headwater::joins::JoinWindows;
/// let minute = Duration::from_secs(60);
/// let around = JoinWindows::within(minute); // a minute before or after
/// let after = JoinWindows::of(Duration::ZERO, minute).grace(minute / 2); // the right one later
/// # let _ = (around, after);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinWindows {
    /// Matches a right record with a left one if it is at most `distance` before or after it.
    pub fn within(distance: Duration) -> Self {
        Self::of(distance, distance)
    }

    /// Matches a right record with a left one if it is at most `before` earlier or `after` later,
    /// both included. There is no grace.
    pub fn of(before: Duration, after: Duration) -> Self {
        Self { before_ms: millis(before), after_ms: millis(after), grace_ms: 0 }
    }

    /// Sets how much longer records wait for late partners, in stream time.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }
}
