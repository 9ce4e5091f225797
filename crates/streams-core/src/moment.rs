//! A point in time on both of a machine's clocks.

use std::time::Duration;

use crate::record::Timestamp;

/// A point in time: its date, and its position on a monotonic clock. Dates say when something
/// happened, but people and time servers set them. Intervals are therefore measured by the
/// monotonic clock, so that setting the date neither delays nor hurries a periodic action.
///
/// A [`Timestamp`] converts to a moment at which both clocks show the same value, as in tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub date: Timestamp,
    /// Milliseconds since some fixed moment, independent of changes to the date.
    pub elapsed_ms: i64,
}

impl Moment {
    /// The moment at which the clocks show these values.
    pub fn new(date: Timestamp, elapsed: Duration) -> Self {
        Self { date, elapsed_ms: i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX) }
    }
}

impl From<Timestamp> for Moment {
    fn from(both: Timestamp) -> Self {
        Self { date: both, elapsed_ms: both }
    }
}

/// A periodic action.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) every_ms: i64,
}

impl Interval {
    /// Resumes after the multiple at the date `last`, and corrects `last` if it is impossible.
    /// Returns its position on the monotonic clock.
    pub(crate) fn resume(&self, last: &mut Timestamp, now: Moment) -> i64 {
        let mut since = now.date.saturating_sub(*last);
        // The date was set back meanwhile, or had been wrong, by more than one interval. The phase
        // is preserved.
        if since < -self.every_ms {
            since = since.rem_euclid(self.every_ms);
            *last = now.date - since;
        }
        now.elapsed_ms.saturating_sub(since)
    }

    /// Whether a multiple has passed since the one at `anchor`. Moves `anchor` to the last multiple
    /// that has passed, and `last` to its date. Skipped multiples are not made up for.
    pub(crate) fn passes(&self, anchor: &mut i64, last: &mut Timestamp, now: Moment) -> bool {
        let since = now.elapsed_ms.saturating_sub(*anchor);
        if since < self.every_ms {
            return false;
        }
        let over = since % self.every_ms;
        *anchor = now.elapsed_ms - over;
        *last = now.date - over;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever happens to the date, during a run or between two runs, the next action is at
        /// most one interval further away. There is at most one action too many per run, plus one
        /// because the phase is preserved.
        #[test]
        fn setting_the_date_costs_at_most_one_interval(
            every_ms in 1..50_i64,
            steps in prop::collection::vec((1..40_i64, -500..500_i64, 0..8_u8), 1..60),
        ) {
            let interval = Interval { every_ms };
            let mut now = Moment { date: 1_000, elapsed_ms: 7 };
            let mut last = 1_000;
            let mut anchor = interval.resume(&mut last, now);
            let mut all = 0;
            let mut times = 0;
            let mut lives = 0;
            let mut since = 0;
            let mut since_max = every_ms;
            for (on, off, what) in steps {
                now = Moment { date: now.date + on, elapsed_ms: now.elapsed_ms + on };
                all += on;
                since += on;
                if what == 0 {
                    now.date += off;
                } else if what == 1 {
                    // On another machine, with another date.
                    now = Moment { date: now.date + off, elapsed_ms: off };
                    anchor = interval.resume(&mut last, now);
                    since = 0;
                    since_max = 2 * every_ms;
                    lives += 1;
                }
                if interval.passes(&mut anchor, &mut last, now) {
                    prop_assert!((0..every_ms).contains(&(now.date - last)));
                    since = 0;
                    since_max = every_ms;
                    times += 1;
                }
                prop_assert!(since < since_max, "{} ms", since);
            }
            prop_assert!(times <= all / every_ms + 2 * lives, "{} times", times);
        }
    }
}
