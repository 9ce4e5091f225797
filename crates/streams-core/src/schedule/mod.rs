//! When something is to happen again and again: at an interval, or by a calendar.
//!
//! Plain arithmetic over dates that come in from outside.

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
    /// So many milliseconds after the one before.
    Every(i64),
    /// By the calendar and the clocks of a time zone.
    Cron(Box<Calendar>),
}

impl Schedule {
    /// By a cron expression and the name of a time zone. An error says in words what is wrong.
    pub(crate) fn cron(expression: &str, zone: &str) -> Result<Self, String> {
        let calendar = Calendar { cron: Cron::parse(expression)?, zone: Zone::named(zone)? };
        if calendar.next(0).is_none() {
            return Err("it names no day that ever comes".to_owned());
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

    /// The last date after this one that is not beyond `until`.
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
    fn an_interval_counts_from_where_it_is() {
        let every = Schedule::Every(10);
        assert_eq!(every.next(7), Some(17));
        assert_eq!(every.last(7, 16), None);
        assert_eq!(every.last(7, 17), Some(17));
        assert_eq!(every.last(7, 46), Some(37));
        assert_eq!(every.last(7, 0), None);
    }

    #[test]
    fn what_never_comes_is_refused() {
        for never in ["0 0 0 30 2 *", "0 0 0 31 4,6,9,11 *"] {
            let error = Schedule::cron(never, "UTC").expect_err(never);
            assert!(error.contains("ever comes"), "{error}");
        }
        assert!(Schedule::cron("0 0 0 29 2 *", "UTC").is_ok());
    }
}
