//! Cron expressions: which seconds of a calendar they name.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

const DAY: i64 = 24 * 60 * 60;

/// A parsed expression: a bit for each value that a field names.
///
/// Local times are counted in seconds from the beginning of 1970 by the same clock, as if it never
/// jumped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    /// From Sunday, 0.
    weekdays: u64,
    months: u64,
    /// The last day of a month is named, whatever its number.
    names_last_day: bool,
    /// Both days of the month and days of the week are restricted. Then either is enough.
    takes_either: bool,
    /// The hours are not restricted, so it follows elapsed time, whatever hour the clock shows.
    pub(super) is_hourly: bool,
}

/// A field of an expression.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Other names of the values, from the first one on.
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", first: 0, last: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of the month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7.
const WEEKDAY: Field = Field {
    name: "day of the week",
    first: 0,
    last: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Cron {
    /// Parses six fields, or five without the seconds. The error describes what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        match fields.len() {
            6 => {}
            5 => fields.insert(0, "0"),
            count => {
                return Err(format!(
                    "it has {count} fields instead of six (second, minute, hour, day of the \
                     month, month, day of the week) or the last five of them"
                ));
            }
        }
        let names_last_day = fields[3].split(',').any(|item| item.eq_ignore_ascii_case("l"));
        let days = fields[3].split(',').filter(|item| !item.eq_ignore_ascii_case("l"));
        let weekdays = WEEKDAY.values(fields[5].split(','))?;
        Ok(Self {
            seconds: SECOND.values(fields[0].split(','))?,
            minutes: MINUTE.values(fields[1].split(','))?,
            hours: HOUR.values(fields[2].split(','))?,
            days: DAY_OF_MONTH.values(days)?,
            months: MONTH.values(fields[4].split(','))?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            names_last_day,
            takes_either: !is_open(fields[3]) && !is_open(fields[5]),
            is_hourly: is_open(fields[2]),
        })
    }

    /// The first second in `from..to` that it names, in local time.
    pub(super) fn first(&self, from: i64, to: i64) -> Option<i64> {
        let mut day = from.div_euclid(DAY);
        let mut second = from.rem_euclid(DAY);
        while day * DAY + second < to {
            if self.names_day(day)
                && let Some(found) = self.first_in_day(second)
            {
                return Some(day * DAY + found).filter(|found| *found < to);
            }
            day += 1;
            second = 0;
        }
        None
    }

    /// The last second in `from..to` that it names, in local time.
    pub(super) fn last(&self, from: i64, to: i64) -> Option<i64> {
        let mut day = (to - 1).div_euclid(DAY);
        let mut second = (to - 1).rem_euclid(DAY);
        while day * DAY + second >= from {
            if self.names_day(day)
                && let Some(found) = self.last_in_day(second)
            {
                return Some(day * DAY + found).filter(|found| *found >= from);
            }
            day -= 1;
            second = DAY - 1;
        }
        None
    }

    fn names_day(&self, day: i64) -> bool {
        // Outside of the calendar's range there are no days.
        let Some(date) = date(day) else { return false };
        let is_last = date.day() == date.days_in_month();
        let by_month = has(self.days, date.day()) || (self.names_last_day && is_last);
        let by_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let is_named = if self.takes_either { by_month || by_week } else { by_month && by_week };
        is_named && has(self.months, date.month())
    }

    /// The first second of a day, starting with one.
    fn first_in_day(&self, from: i64) -> Option<i64> {
        let (hour, minute, second) = clock(from);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = from_on(self.seconds, second)
            {
                return Some(at(hour, minute, second));
            }
            if let Some(minute) = from_on(self.minutes, minute + 1) {
                return Some(at(hour, minute, from_on(self.seconds, 0)?));
            }
        }
        let hour = from_on(self.hours, hour + 1)?;
        Some(at(hour, from_on(self.minutes, 0)?, from_on(self.seconds, 0)?))
    }

    /// The last second of a day, up to one.
    fn last_in_day(&self, until: i64) -> Option<i64> {
        let (hour, minute, second) = clock(until);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = up_to(self.seconds, second)
            {
                return Some(at(hour, minute, second));
            }
            if let Some(minute) = up_to(self.minutes, minute - 1) {
                return Some(at(hour, minute, up_to(self.seconds, 59)?));
            }
        }
        let hour = up_to(self.hours, hour - 1)?;
        Some(at(hour, up_to(self.minutes, 59)?, up_to(self.seconds, 59)?))
    }
}

impl Field {
    /// A bit for each value in a list.
    fn values<'a>(&self, items: impl Iterator<Item = &'a str>) -> Result<u64, String> {
        items.map(|item| self.item(item)).try_fold(0, |all, one| Ok(all | one?))
    }

    /// Parses `*`, `5` or `1-5`, each with an optional `/step`.
    fn item(&self, item: &str) -> Result<u64, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(item, step)?)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (self.first, self.last),
            Some((from, to)) => self.range(self.value(from)?, self.value(to)?),
            // "5/10" is every tenth value from 5.
            None if step.is_some() => (self.value(range)?, self.last),
            None => (self.value(range)?, self.value(range)?),
        };
        if to < from {
            return Err(format!("{range:?} as {} goes backwards", self.name));
        }
        let values = (from..=to).step_by(step.unwrap_or(1) as usize);
        Ok(values.fold(0, |all, value| all | 1 << value))
    }

    fn step(&self, item: &str, step: &str) -> Result<u32, String> {
        let range = self.last - self.first + 1;
        let fits = step.parse().ok().filter(|step| (1..=range).contains(step));
        fits.ok_or_else(|| format!("{item:?} as {} needs a step from 1 to {range}", self.name))
    }

    /// A week may also end on Sunday.
    fn range(&self, from: u32, to: u32) -> (u32, u32) {
        let ends_on_sunday = self.last == WEEKDAY.last && to == 0 && from > 0;
        (from, if ends_on_sunday { WEEKDAY.last } else { to })
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = named.map(|place| place as u32 + self.first).or_else(|| text.parse().ok());
        number.filter(|number| (self.first..=self.last).contains(number)).ok_or_else(|| {
            let Self { name, first, last, .. } = self;
            format!("{text:?} is not a valid {name}: use {first} to {last}")
        })
    }
}

/// Whether a field leaves its value open, possibly with a step.
fn is_open(field: &str) -> bool {
    field.starts_with(['*', '?'])
}

fn date(day: i64) -> Option<Date> {
    let midnight = Timestamp::from_second(day.checked_mul(DAY)?).ok()?;
    Some(Offset::UTC.to_datetime(midnight).date())
}

fn clock(second_of_day: i64) -> (i64, i64, i64) {
    (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60)
}

fn at(hour: i64, minute: i64, second: i64) -> i64 {
    (hour * 60 + minute) * 60 + second
}

fn has(values: u64, value: impl Into<i64>) -> bool {
    values >> value.into() & 1 == 1
}

/// The first value that is not less than this one.
fn from_on(values: u64, value: i64) -> Option<i64> {
    let left = values >> value << value;
    (left != 0).then(|| i64::from(left.trailing_zeros()))
}

/// The last value that is not greater than this one; `None` if there is none.
fn up_to(values: u64, value: i64) -> Option<i64> {
    let value = u32::try_from(value).ok()?;
    let left = values & (u64::MAX >> (u64::BITS - 1 - value));
    (left != 0).then(|| i64::from(u64::BITS - 1 - left.leading_zeros()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(values: &[u32]) -> u64 {
        values.iter().fold(0, |all, value| all | 1 << value)
    }

    #[test]
    fn fields_are_read() {
        let cron = Cron::parse("5/20 */15 8-10 1,L jan,MAR-4 Fri-sun").expect("valid");
        assert_eq!(cron.seconds, bits(&[5, 25, 45]));
        assert_eq!(cron.minutes, bits(&[0, 15, 30, 45]));
        assert_eq!(cron.hours, bits(&[8, 9, 10]));
        assert_eq!((cron.days, cron.names_last_day), (bits(&[1]), true));
        assert_eq!(cron.months, bits(&[1, 3, 4]));
        assert_eq!(cron.weekdays, bits(&[0, 5, 6]));
        assert!(cron.takes_either && !cron.is_hourly);
    }

    #[test]
    fn seconds_may_be_left_out() {
        assert_eq!(Cron::parse("30 2 * * 7"), Cron::parse("0 30 2 * * 0"));
        assert!(Cron::parse("*/5 * * * *").expect("valid").is_hourly);
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (text, words) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("0 0 3 * * * *", "7 fields"),
            ("60 * * * * *", "\"60\" is not a valid second: use 0 to 59"),
            ("0 0 24 * * *", "\"24\" is not a valid hour: use 0 to 23"),
            ("0 0 0 0 * *", "\"0\" is not a valid day of the month: use 1 to 31"),
            ("0 0 0 * foo *", "\"foo\" is not a valid month: use 1 to 12"),
            ("0 0 0 * * 8", "\"8\" is not a valid day of the week"),
            ("0 */0 * * * *", "\"*/0\" as minute needs a step from 1 to 60"),
            ("0 */61 * * * *", "needs a step"),
            ("0 9-5 * * * *", "\"9-5\" as minute goes backwards"),
            ("0 1,,2 * * * *", "\"\" is not a valid minute"),
            ("0 -1 * * * *", "\"\" is not a valid minute"),
            ("0 1-2-3 * * * *", "\"2-3\" is not a valid minute"),
            ("0 0 0 L-3 * *", "\"L\" is not a valid day"),
        ] {
            let error = Cron::parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn either_day_is_enough_if_both_fields_are_restricted() {
        let seconds = |text, from, to| Cron::parse(text).expect("valid").first(from, to);
        // 1970-01-01 was a Thursday, the 2nd a Friday.
        assert_eq!(seconds("0 0 0 2 * 6", 0, 9 * DAY), Some(DAY));
        assert_eq!(seconds("0 0 0 3 * 5", 0, 9 * DAY), Some(DAY));
        assert_eq!(seconds("0 0 0 */2 * 5", 0, 99 * DAY), Some(8 * DAY));
        assert_eq!(seconds("0 0 0 ? * 5", 0, 9 * DAY), Some(DAY));
    }

    #[test]
    fn the_last_day_of_a_month_and_leap_years() {
        let cron = Cron::parse("0 0 12 L 2 *").expect("valid");
        let day = |year: i16, month, day| {
            let date = jiff::civil::date(year, month, day).at(12, 0, 0, 0);
            Offset::UTC.to_timestamp(date).expect("a date").as_second()
        };
        let mut at = day(2099, 1, 1);
        let end = day(2106, 1, 1);
        let mut found = Vec::new();
        while let Some(next) = cron.first(at + 1, end) {
            found.push(next);
            at = next;
        }
        // 2100 is not a leap year.
        let years = [(2099, 28), (2100, 28), (2101, 28), (2102, 28), (2103, 28), (2104, 29)];
        let mut expected: Vec<_> = years.map(|(year, last)| day(year, 2, last)).into();
        expected.push(day(2105, 2, 28));
        assert_eq!(found, expected);
        let leap = Cron::parse("0 0 12 29 2 *").expect("valid");
        assert_eq!(leap.first(day(2096, 3, 1), day(2105, 1, 1)), Some(day(2104, 2, 29)));
        assert_eq!(leap.last(day(2096, 3, 1), day(2104, 2, 29)), None);
        assert_eq!(leap.last(day(2000, 1, 1), day(2104, 2, 29)), Some(day(2096, 2, 29)));
    }

    fn names(cron: &Cron, second: i64) -> bool {
        let (hour, minute, of_minute) = clock(second.rem_euclid(DAY));
        cron.names_day(second.div_euclid(DAY))
            && has(cron.hours, hour)
            && has(cron.minutes, minute)
            && has(cron.seconds, of_minute)
    }

    proptest! {
        /// Forward and backward, as a search second by second would find them.
        #[test]
        fn the_next_and_the_last_second_are_those_that_a_search_finds(
            second in 0..62_u32,
            minute in 0..62_u32,
            hour in 0..26_u32,
            day in 0..33_u32,
            from in -40_000..200_000_i64,
            length in 0..30_000_i64,
        ) {
            // Beyond the last value, the field is open.
            let field = |value: u32, max| match value {
                value if value > max => "*".to_owned(),
                value => value.to_string(),
            };
            let day = if day == 0 { 99 } else { day };
            let second = field(second, 59);
            let minute = field(minute, 59);
            let text = format!("{second} {minute} {} {} * *", field(hour, 23), field(day, 31));
            let cron = Cron::parse(&text).expect("valid");
            let to = from + length;
            prop_assert_eq!(cron.first(from, to), (from..to).find(|at| names(&cron, *at)));
            prop_assert_eq!(cron.last(from, to), (from..to).rev().find(|at| names(&cron, *at)));
        }
    }
}
