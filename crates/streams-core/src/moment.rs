//! A moment, by both of a machine's clocks.

use std::time::Duration;

use crate::record::Timestamp;

/// A moment: its date, and where it lies on a clock that never goes back. Dates say when something
/// was, and are set by people and time servers; intervals are measured by the other clock, so that
/// a date that is set back or forth neither silences nor hurries what happens every so often.
///
/// A [`Timestamp`] is a moment of a world in which both clocks show the same: a test's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub date: Timestamp,
    /// Milliseconds since some fixed moment, whatever the date was set to meanwhile.
    pub elapsed_ms: i64,
}

impl Moment {
    /// The moment at which the clocks show this.
    pub fn new(date: Timestamp, elapsed: Duration) -> Self {
        Self { date, elapsed_ms: i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX) }
    }
}

impl From<Timestamp> for Moment {
    fn from(both: Timestamp) -> Self {
        Self { date: both, elapsed_ms: both }
    }
}

/// What happens every so often.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) every_ms: i64,
}

impl Interval {
    /// Goes on after a multiple that was at the date `last`, which it corrects where that cannot
    /// be; returns where it lies on the clock that never goes back.
    pub(crate) fn resume(&self, last: &mut Timestamp, now: Moment) -> i64 {
        let mut since = now.date.saturating_sub(*last);
        // The date was set back meanwhile, or had been wrong, by more than can be waited for. The
        // phase stays.
        if since < -self.every_ms {
            since = since.rem_euclid(self.every_ms);
            *last = now.date - since;
        }
        now.elapsed_ms.saturating_sub(since)
    }

    /// Whether a multiple has passed since the one at `anchor`; moves `anchor` to the last one that
    /// has, and `last` to its date. Those before it are not made up for.
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
        /// Whatever is done to the date, while it runs or between two lives, the next one is never
        /// further away than one interval more, nor are there more than one for each life, and one
        /// because the phase stays.
        #[test]
        fn a_date_that_is_set_costs_an_interval_at_most(
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
