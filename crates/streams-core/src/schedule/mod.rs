//! When periodic work is due: at an interval, or by a calendar.
//!
//! Plain arithmetic over dates that come from outside.

mod calendar;
mod cron;
mod zone;

use crate::record::Timestamp;
use calendar::Calendar;
use cron::Cron;
use zone::Zone;

/// The dates at which something is due.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// This many milliseconds after the previous date.
    Every(i64),
    /// By the calendar in a time zone.
    Cron(Box<Calendar>),
}

impl Schedule {
    /// Creates a schedule from a cron expression and the name of a time zone. The error describes
    /// what is wrong.
    pub(crate) fn cron(expression: &str, zone: &str) -> Result<Self, String> {
        let calendar = Calendar { cron: Cron::parse(expression)?, zone: Zone::named(zone)? };
        if calendar.next(0).is_none() {
            return Err("it names only days that never come".to_owned());
        }
        Ok(Self::Cron(Box::new(calendar)))
    }

    /// The first date after this one.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(ms) => Some(after.saturating_add(*ms)),
            Self::Cron(calendar) => calendar.next(after),
        }
    }

    /// The last date after this one and not after `until`.
    pub(crate) fn last(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(ms) => {
                let passed = until.saturating_sub(after).div_euclid(*ms);
                (passed > 0).then(|| after + passed * ms)
            }
            Self::Cron(calendar) => calendar.last(after, until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_counts_from_the_given_date() {
        let every = Schedule::Every(10);
        assert_eq!(every.next(7), Some(17));
        assert_eq!(every.last(7, 16), None);
        assert_eq!(every.last(7, 17), Some(17));
        assert_eq!(every.last(7, 46), Some(37));
        assert_eq!(every.last(7, 0), None);
    }

    #[test]
    fn dates_that_never_come_are_refused() {
        for never in ["0 0 0 30 2 *", "0 0 0 31 4,6,9,11 *"] {
            let error = Schedule::cron(never, "UTC").expect_err(never);
            assert!(error.contains("never come"), "{error}");
        }
        assert!(Schedule::cron("0 0 0 29 2 *", "UTC").is_ok());
    }
}
