//! Windows as arithmetic: which windows a timestamp falls into, and when one is closed.

use std::time::Duration;

use crate::record::Timestamp;

/// A key in a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window's first millisecond.
    pub start: Timestamp,
    /// The window's end in milliseconds, exclusive.
    pub end: Timestamp,
}

/// How time is cut into windows of a fixed size: windows start at multiples of the advance from 0.
pub trait TimeWindows: Send + Sync + 'static {
    /// The length of each window in milliseconds, positive.
    fn size_ms(&self) -> i64;

    /// How long after a window's end, in stream time, records for it are still accepted.
    fn grace_ms(&self) -> i64;

    /// The starts of the windows that `timestamp` (not negative) falls into, ascending.
    fn starts(&self, timestamp: Timestamp) -> impl Iterator<Item = Timestamp>;

    /// After how much wall-clock time without input stream time goes on by the clock; `None`: it
    /// waits for records.
    fn idle_after_ms(&self) -> Option<i64>;
}

/// Windows of one size, side by side: `[0, size)`, `[size, 2 size)`, …
///
/// ```
/// use std::time::Duration;
/// use headwater_streams_core::window::{TimeWindows, Tumbling};
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// assert_eq!(minutes.starts(61_000).collect::<Vec<_>>(), [60_000]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size_ms: i64,
    grace_ms: i64,
    idle_after_ms: Option<i64>,
}

impl Tumbling {
    /// Windows of `size`, without grace. Whole milliseconds; a size below one millisecond is
    /// refused by `build()`.
    pub fn of(size: Duration) -> Self {
        Self { size_ms: millis(size), grace_ms: 0, idle_after_ms: None }
    }

    /// Accepts records for a window until stream time is `grace` past its end; later ones are
    /// dropped and counted.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }

    /// Closes windows without further input: when a task has had no record for `idle` of wall-clock
    /// time, its stream time goes on by the clock from the last record's arrival. Without it a
    /// window waits for a later record, as it does in Kafka Streams. The advance is committed
    /// with the offsets, so that a restart decides the same.
    #[must_use]
    pub fn idle_after(mut self, idle: Duration) -> Self {
        self.idle_after_ms = Some(millis(idle));
        self
    }
}

impl TimeWindows for Tumbling {
    fn size_ms(&self) -> i64 {
        self.size_ms
    }

    fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    fn starts(&self, timestamp: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::once(timestamp - timestamp.rem_euclid(self.size_ms.max(1)))
    }

    fn idle_after_ms(&self) -> Option<i64> {
        self.idle_after_ms
    }
}

/// A duration in whole milliseconds, at most what a timestamp can hold with room for sums.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_timestamp_falls_into_exactly_the_window_that_contains_it(
            timestamp in 0..i64::MAX / 16, size in 1..10_000_000_i64,
        ) {
            let windows = Tumbling::of(Duration::from_millis(size as u64));
            let starts: Vec<_> = windows.starts(timestamp).collect();
            prop_assert_eq!(starts.len(), 1);
            prop_assert_eq!(starts[0] % size, 0);
            prop_assert!(starts[0] <= timestamp && timestamp < starts[0] + size);
        }
    }
}
