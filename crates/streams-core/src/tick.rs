//! Ticks: scheduled records, without an input record.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::operators::TIMESTAMP_MAX;
use crate::receive::Receive;
use crate::record::Timestamp;
use crate::schedule::Schedule;

/// One tick of [`Builder::every`](crate::Builder::every) or
/// [`Builder::cron`](crate::Builder::cron).
///
/// The times of a stream's ticks always increase, and each tick knows the time of the previous one.
/// An event after `previous` and not after `time` belongs to this tick, and therefore to exactly
/// one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tick {
    /// When the tick was due, in milliseconds since the Unix epoch. Its record has this timestamp.
    pub time: Timestamp,
    /// The `time` of the previous tick. For the first tick, it is when the application first
    /// started.
    pub previous: Timestamp,
}

/// What happens to ticks that were due while no instance ran, or while the responsible instance was
/// delayed.
///
/// A crash, an abort or a moved task loses no tick: an uncommitted tick is still due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// The last missed tick comes as soon as possible. Its [`previous`](Tick::previous) says how
    /// long a time it stands for.
    #[default]
    One,
    /// All missed ticks come, in order, however many there are. Commits happen in between.
    All,
    /// Ticks that are more than a minute late are dropped. If some are less late than that, the
    /// last of them comes, because a restart or a rebalance also takes a moment.
    None,
}

/// How late a tick may be under [`Missed::None`], in milliseconds.
const LATE_MAX: i64 = 60_000;

/// The ticks that enter a sub-topology.
pub(crate) struct TickSource {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
    pub(crate) missed: Missed,
    /// The number of the input that they belong to, which has their error policy.
    pub(crate) input: usize,
    /// The name under which the time of the last tick is committed.
    pub(crate) last_name: String,
    /// The name under which the schedule's progress is committed.
    pub(crate) done_name: String,
    pub(crate) next: Box<dyn Receive<String, Tick>>,
}

/// The progress of ticks in a task.
///
/// Schedules use dates, but waiting uses the monotonic clock. When the date is set, the schedule
/// moves with it, so no tick waits for a wrong date to come again. Only the times of the ticks
/// never go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticking {
    /// The time of the last tick.
    pub(crate) last: Timestamp,
    /// The schedule has been processed up to this date.
    pub(crate) done: Timestamp,
    /// For an interval: the difference between the date that it follows and the monotonic clock.
    offset: i64,
    /// The next due date after `done`.
    next: Option<Timestamp>,
}

impl Ticking {
    /// Resumes after what was committed. If nothing was committed, it starts now.
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

    /// The date that the schedule follows.
    fn date(&self, schedule: &Schedule, now: Moment) -> Timestamp {
        match schedule {
            Schedule::Every(_) => now.elapsed_ms.saturating_add(self.offset),
            Schedule::Cron(_) => plausible(now.date),
        }
    }

    /// Whether a tick is due, even one that is too late to run.
    pub(crate) fn is_due(&self, schedule: &Schedule, now: Moment) -> bool {
        self.next.is_some_and(|next| next <= self.date(schedule, now))
    }

    /// The next due date.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// When it is due on the monotonic clock; `None` if it is due already.
    pub(crate) fn wakes_at(&self, schedule: &Schedule, now: Moment) -> Option<Timestamp> {
        let left = self.next?.saturating_sub(self.date(schedule, now));
        (left > 0).then(|| now.elapsed_ms.saturating_add(left))
    }

    /// Takes the tick that is due, if there is one. A tick that is too late is dropped.
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
        // Times must increase, also while a date that was set back has not caught up.
        self.last = due.max(previous + 1);
        Some(Tick { time: self.last, previous })
    }

    /// Follows a change of the date, either while the task ran or before.
    pub(crate) fn follow(&mut self, schedule: &Schedule, now: Moment) {
        if let Schedule::Every(every) = schedule {
            let off = plausible(now.date).saturating_sub(self.date(schedule, now));
            // Move by whole intervals, so that the next tick comes when it would have come anyway.
            let off = off - off % every;
            if off != 0 {
                self.offset += off;
                self.go_on_from(schedule, self.done.saturating_add(off));
            }
        }
        let date = self.date(schedule, now);
        let interval = self.next.map(|next| next - self.done);
        let ahead = self.done.saturating_sub(date);
        // Wait for at most one interval, so that nothing happens twice. A longer wait would be an
        // outage.
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

/// Limits a date to what can be committed.
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
    fn missed_ticks_follow_their_setting() {
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
    fn a_schedule_wakes_when_a_tick_is_due() {
        let every = Schedule::Every(1_000);
        let ticking = Ticking::resume(&every, None, None, at(HOUR, 40));
        assert_eq!(ticking.wakes_at(&every, at(HOUR + 300, 340)), Some(1_040));
        // The date does not matter.
        assert_eq!(ticking.wakes_at(&every, at(7 * HOUR, 340)), Some(1_040));
        assert_eq!(ticking.wakes_at(&every, at(HOUR + 1_000, 1_040)), None);
        let cron = Schedule::cron("0 0 * * * *", "UTC").expect("valid");
        let ticking = Ticking::resume(&cron, None, None, at(HOUR, 40));
        assert_eq!(ticking.wakes_at(&cron, at(HOUR + 300, 340)), Some(HOUR + 40));
        assert_eq!(ticking.wakes_at(&cron, at(HOUR + 400, 340)), Some(HOUR - 60));
    }

    #[test]
    fn setting_the_date_back_by_less_than_an_interval_repeats_no_tick() {
        let cron = Schedule::cron("0 0 * * * *", "UTC").expect("valid");
        let mut ticking = Ticking::resume(&cron, None, None, at(HOUR, 0));
        let mut ticks = |date: i64| due(&mut ticking, &cron, Missed::All, at(date, date));
        assert_eq!(ticks(2 * HOUR), [2 * HOUR]);
        assert_eq!(ticks(HOUR + 1), [0_i64; 0]);
        assert_eq!(ticks(2 * HOUR), [0_i64; 0]);
        assert_eq!(ticks(3 * HOUR), [3 * HOUR]);
        // If the date is set back further than one interval, the schedule follows the new date.
        assert_eq!(ticks(1), [0_i64; 0]);
        assert_eq!(ticks(HOUR), [3 * HOUR + 1]);
        assert_eq!(ticks(4 * HOUR), [3 * HOUR + 2, 3 * HOUR + 3, 4 * HOUR]);
    }

    proptest! {
        /// Whatever happens to the date, during a run or between two runs, times increase and the
        /// next tick is at most one interval further away. During a run there are as many ticks as
        /// intervals.
        #[test]
        fn setting_the_date_costs_at_most_one_interval(
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
                    // The part of this interval that has passed.
                    since += (now.elapsed_ms + ticking.offset - ticking.done).rem_euclid(every);
                }
                prop_assert!(since < since_max, "{} ms", since);
            }
        }
    }
}
