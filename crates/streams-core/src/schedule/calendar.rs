//! A cron expression in a time zone, whose clocks jump.
//!
//! If the expression restricts hours, each local time that it names happens once: a skipped time
//! happens at the jump, and a repeated time happens the first time. If it leaves the hours open
//! (`*`, `*/2`), it follows elapsed time: skipped times do not happen, and repeated times happen
//! twice. Vixie's cron does the same.

use super::cron::Cron;
use super::zone::{Stretch, Zone};
use crate::record::Timestamp;

/// How far ahead to search, in seconds. There are at most eight years without a leap day.
const SEARCH: i64 = 12 * 366 * 24 * 60 * 60;

#[derive(Debug)]
pub(crate) struct Calendar {
    pub(super) cron: Cron,
    pub(super) zone: Zone,
}

impl Calendar {
    /// The first date after this one; `None` if there is none for years.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after.div_euclid(1000) + 1;
        let limit = from + SEARCH;
        while from < limit {
            let stretch = self.zone.stretch(from);
            if from == stretch.start && self.is_jumped_over(&stretch) {
                return Some(from * 1000);
            }
            let begin = self.first_local(&stretch, from);
            let found = self.cron.first(begin, stretch.end.min(limit) + stretch.offset);
            if let Some(found) = found {
                return Some((found - stretch.offset) * 1000);
            }
            from = stretch.end;
        }
        None
    }

    /// The last date after this one and not after `until`.
    pub(super) fn last(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let from = after.div_euclid(1000) + 1;
        let mut to = until.div_euclid(1000) + 1;
        while from < to {
            let stretch = self.zone.stretch(to - 1);
            let begin = self.first_local(&stretch, from.max(stretch.start));
            if let Some(found) = self.cron.last(begin, to + stretch.offset) {
                return Some((found - stretch.offset) * 1000);
            }
            if from <= stretch.start && self.is_jumped_over(&stretch) {
                return Some(stretch.start * 1000);
            }
            to = stretch.start;
        }
        None
    }

    /// Where to start in a stretch. Local times from before the clocks went back do not count
    /// again.
    fn first_local(&self, stretch: &Stretch, from: i64) -> i64 {
        let shown = stretch.start + stretch.offset_before;
        let local = from + stretch.offset;
        if self.cron.is_hourly { local } else { local.max(shown) }
    }

    /// Whether the jump at the beginning of a stretch skipped a time that should happen.
    fn is_jumped_over(&self, stretch: &Stretch) -> bool {
        let Stretch { start, offset, offset_before, .. } = *stretch;
        !self.cron.is_hourly && self.cron.first(start + offset_before, start + offset).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::{Date, date};
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;

    fn calendar(expression: &str, zone: &str) -> Calendar {
        let cron = Cron::parse(expression).expect("valid");
        Calendar { cron, zone: Zone::named(zone).expect("known") }
    }

    /// Milliseconds of a date in UTC.
    fn utc(day: Date, hour: i8, minute: i8) -> i64 {
        let at = day.at(hour, minute, 0, 0);
        Offset::UTC.to_timestamp(at).expect("a date").as_second() * 1000
    }

    /// All dates after one date and up to another.
    fn all(calendar: &Calendar, after: i64, until: i64) -> Vec<i64> {
        let next = |at: &i64| calendar.next(*at).filter(|next| *next <= until);
        std::iter::successors(next(&after), next).collect()
    }

    const SPRING: Date = date(2024, 3, 31);
    const AUTUMN: Date = date(2024, 10, 27);

    #[test]
    fn a_skipped_time_happens_at_the_jump() {
        let night = calendar("0 30 2 * * *", "Europe/Berlin");
        let found = all(&night, utc(date(2024, 3, 29), 12, 0), utc(date(2024, 4, 1), 12, 0));
        let expected =
            [utc(date(2024, 3, 30), 1, 30), utc(SPRING, 1, 0), utc(date(2024, 4, 1), 0, 30)];
        assert_eq!(found, expected);
        // All of them would be at 03:00, so it happens once.
        let often = calendar("0 */10 2,3 * * *", "Europe/Berlin");
        let found = all(&often, utc(SPRING, 0, 30), utc(SPRING, 1, 25));
        assert_eq!(found, [utc(SPRING, 1, 0), utc(SPRING, 1, 10), utc(SPRING, 1, 20)]);
    }

    #[test]
    fn a_repeated_time_happens_the_first_time() {
        let night = calendar("0 30 2 * * *", "Europe/Berlin");
        let found = all(&night, utc(date(2024, 10, 26), 12, 0), utc(date(2024, 10, 28), 12, 0));
        assert_eq!(found, [utc(AUTUMN, 0, 30), utc(date(2024, 10, 28), 1, 30)]);
    }

    #[test]
    fn an_open_hour_follows_elapsed_time_through_a_jump() {
        let often = calendar("0 */30 * * * *", "Europe/Berlin");
        for day in [SPRING, AUTUMN] {
            let found = all(&often, utc(day, 0, 0), utc(day, 3, 0));
            let expected: Vec<_> =
                (1..=6).map(|half| utc(day, 0, 0) + half * 30 * 60 * 1000).collect();
            assert_eq!(found, expected);
        }
        // 03:00 is 01:00 in UTC, and 04:00 is 02:00: there is no 02:00 on that day.
        let even = calendar("0 0 */2 * * *", "Europe/Berlin");
        let found = all(&even, utc(SPRING, 0, 0), utc(SPRING, 4, 30));
        assert_eq!(found, [utc(SPRING, 2, 0), utc(SPRING, 4, 0)]);
    }

    #[test]
    fn zones_may_jump_by_half_an_hour_or_skip_a_day() {
        // Clocks of Lord Howe go back by half an hour: 01:30 to 01:59 come twice.
        let howe = calendar("0 45 1 * * *", "Australia/Lord_Howe");
        let found = all(&howe, utc(date(2024, 4, 5), 20, 0), utc(date(2024, 4, 7), 0, 0));
        assert_eq!(found, [utc(date(2024, 4, 6), 14, 45)]);
        // Samoa had no 30th of December in 2011.
        let apia = calendar("0 0 12 * * *", "Pacific/Apia");
        let found = all(&apia, utc(date(2011, 12, 29), 0, 0), utc(date(2011, 12, 31), 0, 0));
        let jump = utc(date(2011, 12, 30), 10, 0);
        assert_eq!(found, [utc(date(2011, 12, 29), 22, 0), jump, utc(date(2011, 12, 30), 22, 0)]);
    }

    #[test]
    fn a_leap_day_is_found() {
        let leap = calendar("0 0 0 29 2 *", "America/New_York");
        assert_eq!(leap.next(utc(date(2096, 3, 1), 12, 0)), Some(utc(date(2104, 2, 29), 5, 0)));
        let found = leap.last(utc(date(2000, 1, 1), 0, 0), utc(date(2104, 2, 28), 0, 0));
        assert_eq!(found, Some(utc(date(2096, 2, 29), 5, 0)));
    }

    /// Finds the dates by looking at the clock every minute.
    fn naive(calendar: &Calendar, from: i64, until: i64) -> Vec<i64> {
        let mut shown = BTreeSet::new();
        let mut found = Vec::new();
        let mut before = None;
        // Some hours earlier, for what the clocks showed before.
        for at in (from / 60_000 - 48 * 60..=until / 60_000).map(|minute| minute * 60) {
            let local = at + calendar.zone.stretch(at).offset;
            let is_new = shown.insert(local);
            let left_out = before.map_or(local, |before| before + 60)..local;
            before = Some(local);
            let named = |local| calendar.cron.first(local, local + 1).is_some();
            let happens = if calendar.cron.is_hourly {
                named(local)
            } else {
                is_new && (named(local) || left_out.step_by(60).any(named))
            };
            if happens && (from + 1..=until).contains(&(at * 1000)) {
                found.push(at * 1000);
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Forward, and backward from anywhere, with jumps of all kinds in between.
        #[test]
        fn dates_are_those_that_a_search_minute_by_minute_finds(
            minute in 0..62_u32,
            hour in 0..5_u32,
            zone in prop::sample::select(vec![
                ("Europe/Berlin", SPRING), ("Europe/Berlin", AUTUMN),
                ("Australia/Lord_Howe", date(2024, 4, 6)),
                ("Australia/Lord_Howe", date(2024, 10, 5)),
                ("America/St_Johns", date(2005, 4, 3)), ("America/St_Johns", date(2005, 10, 30)),
                ("Africa/Casablanca", date(2024, 3, 10)), ("Africa/Casablanca", date(2024, 4, 14)),
                ("Asia/Kolkata", date(2024, 1, 1)),
            ]),
            back in 0..30 * 3_600_000_i64,
            length in 0..50 * 3_600_000_i64,
        ) {
            let field = |value: u32, max| match value {
                value if value > max => "*".to_owned(),
                value => value.to_string(),
            };
            let minute = field(minute, 59);
            let hour = field(hour, 3);
            let calendar = calendar(&format!("0 {minute} {hour} * * *"), zone.0);
            let from = utc(zone.1, 12, 0) - back;
            let until = from + length;
            let expected = naive(&calendar, from, until);
            prop_assert_eq!(calendar.last(from, until), expected.last().copied());
            prop_assert_eq!(all(&calendar, from, until), expected);
        }
    }
}
