//! Ticks: what comes at certain times, without any record.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::operators::TIMESTAMP_MAX;
use crate::receive::Receive;
use crate::record::Timestamp;
use crate::schedule::Schedule;

/// One tick of [`Builder::every`](crate::Builder::every) or
/// [`Builder::cron`](crate::Builder::cron).
///
/// The times of a stream's ticks always increase, and each knows the one before it: what happened
/// after `previous` and not after `time` belongs to this tick, and so to exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tick {
    /// When it was due, in milliseconds since the Unix epoch. Its record has this timestamp.
    pub time: Timestamp,
    /// The `time` of the tick before it. Of the first one: when the application first started.
    pub previous: Timestamp,
}

/// What becomes of ticks that were due while no instance ran, or while the one that should have
/// done them was held up.
///
/// Nothing is missed for good by a crash, an abort or a task that moves: what was not committed is
/// due still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// The last one of them comes as soon as it can; its [`previous`](Tick::previous) tells how
    /// much it stands for.
    #[default]
    One,
    /// All of them come, one after the other, in order. However many there are: commits come in
    /// between.
    All,
    /// None that is more than a minute late. Of those that are less, the last one comes, for a
    /// restart or a rebalance takes a moment, too.
    None,
}

/// How late a tick may come that is not to be made up for, in milliseconds.
const LATE_MAX: i64 = 60_000;

/// Where ticks come from in a sub-topology.
pub(crate) struct TickSource {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
    pub(crate) missed: Missed,
    /// The number of the input that they belong to: its error policy is theirs.
    pub(crate) input: usize,
    /// The name under which the time of the last tick is committed.
    pub(crate) last_name: String,
    /// The name under which it is committed how far the schedule is dealt with.
    pub(crate) done_name: String,
    pub(crate) next: Box<dyn Receive<String, Tick>>,
}

/// How far ticks have come in a task.
///
/// The schedule goes by dates, and waiting by the clock that never goes back. A date that is set
/// moves the schedule with it: nobody waits for a date that was wrong to come again. Only the times
/// that ticks bear never go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticking {
    /// The time of the last tick.
    pub(crate) last: Timestamp,
    /// The schedule is dealt with up to this date.
    pub(crate) done: Timestamp,
    /// Of an interval: what has to be added to the clock that never goes back to get the date that
    /// it goes by.
    offset: i64,
    /// The date after `done` that is due next.
    next: Option<Timestamp>,
}

impl Ticking {
    /// Goes on after what was committed; if nothing was, it begins now.
    pub(crate) fn resume(
        schedule: &Schedule,
        last: Option<Timestamp>,
        done: Option<Timestamp>,
        now: Moment,
    ) -> Self {
        let date = plausible(now.date);
        let last = last.unwrap_or(date);
        let done = done.unwrap_or(last);
        let offset = date.saturating_sub(now.elapsed_ms);
        let mut ticking = Self { last, done, offset, next: schedule.next(done) };
        ticking.follow(schedule, now);
        ticking
    }

    /// The date that the schedule goes by.
    fn date(&self, schedule: &Schedule, now: Moment) -> Timestamp {
        match schedule {
            Schedule::Every(_) => now.elapsed_ms.saturating_add(self.offset),
            Schedule::Cron(_) => plausible(now.date),
        }
    }

    /// Whether a tick is due, or one that is too late.
    pub(crate) fn is_due(&self, schedule: &Schedule, now: Moment) -> bool {
        self.next.is_some_and(|next| next <= self.date(schedule, now))
    }

    /// The date that is due next.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// When it is due by the clock that never goes back, unless it is already.
    pub(crate) fn wakes_at(&self, schedule: &Schedule, now: Moment) -> Option<Timestamp> {
        let left = self.next?.saturating_sub(self.date(schedule, now));
        (left > 0).then(|| now.elapsed_ms.saturating_add(left))
    }

    /// Takes the tick that is due, if one is; not one that is too late.
    pub(crate) fn take(
        &mut self,
        schedule: &Schedule,
        missed: Missed,
        now: Moment,
    ) -> Option<Tick> {
        let date = self.date(schedule, now);
        let first = self.next.filter(|next| *next <= date)?;
        let due = match missed {
            Missed::All => first,
            Missed::One | Missed::None => schedule.last(self.done, date).unwrap_or(first),
        };
        self.go_on_from(schedule, due);
        if missed == Missed::None && date - due > LATE_MAX {
            return None;
        }
        let previous = self.last;
        // Until a date that was set back has caught up.
        self.last = due.max(previous + 1);
        Some(Tick { time: self.last, previous })
    }

    /// Follows a date that was set, while the task ran or before.
    pub(crate) fn follow(&mut self, schedule: &Schedule, now: Moment) {
        if let Schedule::Every(every) = schedule {
            let off = plausible(now.date).saturating_sub(self.date(schedule, now));
            // By whole intervals: the next tick comes when it would have come.
            let off = off - off % every;
            if off != 0 {
                self.offset += off;
                self.go_on_from(schedule, self.done.saturating_add(off));
            }
        }
        let date = self.date(schedule, now);
        let interval = self.next.map(|next| next - self.done);
        let ahead = self.done.saturating_sub(date);
        // One interval is waited for, so that nothing happens twice; more would be silence.
        if interval.is_some_and(|interval| ahead > interval) {
            let back = match schedule {
                Schedule::Every(every) => self.done - (ahead + every - 1) / every * every,
                Schedule::Cron(_) => date,
            };
            self.go_on_from(schedule, back);
        }
    }

    fn go_on_from(&mut self, schedule: &Schedule, date: Timestamp) {
        self.done = plausible(date);
        self.next = schedule.next(self.done);
    }
}

/// A date that can be committed.
fn plausible(date: Timestamp) -> Timestamp {
    date.clamp(0, TIMESTAMP_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(date: i64, elapsed_ms: i64) -> Moment {
        Moment { date, elapsed_ms }
    }

    fn due(ticking: &mut Ticking, schedule: &Schedule, missed: Missed, now: Moment) -> Vec<i64> {
        ticking.follow(schedule, now);
        let mut times = Vec::new();
        while ticking.is_due(schedule, now) {
            times.extend(ticking.take(schedule, missed, now).map(|tick| tick.time));
        }
        times
    }

    #[test]
    fn what_was_missed_comes_as_it_is_told() {
        let schedule = Schedule::Every(1_000);
        let after = |late: i64, missed| {
            let mut ticking = Ticking::resume(&schedule, Some(5_000), Some(5_000), at(late, 7));
            due(&mut ticking, &schedule, missed, at(late, 7))
        };
        assert_eq!(after(8_500, Missed::All), [6_000, 7_000, 8_000]);
        assert_eq!(after(8_500, Missed::One), [8_000]);
        assert_eq!(after(8_500, Missed::None), [8_000]);
        let schedule = Schedule::cron("0 0 * * * *", "UTC").expect("valid");
        let after = |late: i64, missed| {
            let mut ticking = Ticking::resume(&schedule, Some(HOUR), Some(HOUR), at(late, 7));
            due(&mut ticking, &schedule, missed, at(late, 7))
        };
        assert_eq!(after(3 * HOUR + 60_000, Missed::None), [3 * HOUR]);
        assert_eq!(after(3 * HOUR + 60_001, Missed::None), [0_i64; 0]);
        assert_eq!(after(3 * HOUR + 60_001, Missed::One), [3 * HOUR]);
        assert_eq!(after(3 * HOUR + 60_001, Missed::All), [2 * HOUR, 3 * HOUR]);
    }

    #[test]
    fn it_wakes_when_something_is_due() {
        let every = Schedule::Every(1_000);
        let ticking = Ticking::resume(&every, None, None, at(HOUR, 40));
        assert_eq!(ticking.wakes_at(&every, at(HOUR + 300, 340)), Some(1_040));
        // Whatever the date is set to.
        assert_eq!(ticking.wakes_at(&every, at(7 * HOUR, 340)), Some(1_040));
        assert_eq!(ticking.wakes_at(&every, at(HOUR + 1_000, 1_040)), None);
        let cron = Schedule::cron("0 0 * * * *", "UTC").expect("valid");
        let ticking = Ticking::resume(&cron, None, None, at(HOUR, 40));
        assert_eq!(ticking.wakes_at(&cron, at(HOUR + 300, 340)), Some(HOUR + 40));
        assert_eq!(ticking.wakes_at(&cron, at(HOUR + 400, 340)), Some(HOUR - 60));
    }

    #[test]
    fn a_date_that_is_set_back_by_less_than_an_interval_makes_nothing_happen_twice() {
        let cron = Schedule::cron("0 0 * * * *", "UTC").expect("valid");
        let mut ticking = Ticking::resume(&cron, None, None, at(HOUR, 0));
        let mut ticks = |date: i64| due(&mut ticking, &cron, Missed::All, at(date, date));
        assert_eq!(ticks(2 * HOUR), [2 * HOUR]);
        assert_eq!(ticks(HOUR + 1), [0_i64; 0]);
        assert_eq!(ticks(2 * HOUR), [0_i64; 0]);
        assert_eq!(ticks(3 * HOUR), [3 * HOUR]);
        // Further back than can be waited for, it goes on by the new date.
        assert_eq!(ticks(1), [0_i64; 0]);
        assert_eq!(ticks(HOUR), [3 * HOUR + 1]);
        assert_eq!(ticks(4 * HOUR), [3 * HOUR + 2, 3 * HOUR + 3, 4 * HOUR]);
    }

    proptest! {
        /// Whatever is done to the date, while it runs or between two lives, times increase, the
        /// next tick is never further away than one interval more, and while it runs there are as
        /// many as there are intervals.
        #[test]
        fn a_date_that_is_set_costs_an_interval_at_most(
            every in 1..50_i64,
            steps in prop::collection::vec((1..40_i64, -500..500_i64, 0..8_u8), 1..60),
        ) {
            let schedule = Schedule::Every(every);
            let mut now = at(100_000, 7);
            let mut ticking = Ticking::resume(&schedule, None, None, now);
            let mut last = 100_000;
            let mut since = 0;
            let mut since_max = every;
            for (on, off, what) in steps {
                now = at(now.date + on, now.elapsed_ms + on);
                since += on;
                if what == 0 {
                    now.date += off;
                } else if what == 1 {
                    // On another machine, with another date.
                    now = at(now.date + off, off);
                    let Ticking { last, done, .. } = ticking;
                    ticking = Ticking::resume(&schedule, Some(last), Some(done), now);
                    since = 0;
                    since_max = 2 * every;
                }
                let times = due(&mut ticking, &schedule, Missed::One, now);
                prop_assert!(times.len() <= 1);
                if let Some(time) = times.first() {
                    prop_assert!(*time > last, "{time} after {last}");
                    last = *time;
                    since = 0;
                    since_max = every;
                    // What is over of this interval.
                    since += (now.elapsed_ms + ticking.offset - ticking.done).rem_euclid(every);
                }
                prop_assert!(since < since_max, "{} ms", since);
            }
        }
    }
}
