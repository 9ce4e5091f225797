//! Time zones: which date a wall clock shows, and when it jumps. The data is compiled in, so the
//! same program has the same zones wherever it runs.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Further away than any jump, in seconds.
const FAR: i64 = 1 << 45;

/// A time zone.
#[derive(Debug)]
pub(super) struct Zone(TimeZone);

/// A stretch of time in which a zone's clocks run evenly, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: i64,
    /// Where the next one begins.
    pub(super) end: i64,
    /// The offset to local seconds.
    pub(super) offset: i64,
    /// The offset just before the stretch.
    pub(super) offset_before: i64,
}

impl Zone {
    /// Finds a zone by its name in the IANA database. The error describes what is wrong.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
        zone.map(Self).ok_or_else(|| {
            format!("{name:?} is not a time zone: use a name such as \"Europe/Berlin\" or \"UTC\"")
        })
    }

    /// Returns the stretch that a second belongs to.
    pub(super) fn stretch(&self, at: i64) -> Stretch {
        let mut start = -FAR;
        let mut end = FAR;
        if let Ok(behind) = Timestamp::from_second(at + 1) {
            let jump = self.0.preceding(behind).next();
            start = jump.map_or(start, |jump| jump.timestamp().as_second());
        }
        if let Ok(at) = Timestamp::from_second(at) {
            let jump = self.0.following(at).next();
            end = jump.map_or(end, |jump| jump.timestamp().as_second());
        }
        let offset_before = self.offset(start - 1);
        Stretch { start, end, offset: self.offset(at), offset_before }
    }

    fn offset(&self, at: i64) -> i64 {
        // Outside of the calendar's range there is no offset.
        Timestamp::from_second(at).map_or(0, |at| self.0.to_offset(at).seconds().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_jump_at_the_real_dates() {
        let berlin = Zone::named("Europe/Berlin").expect("known");
        // 2024-03-31T01:00:00Z and 2024-10-27T01:00:00Z.
        let summer =
            Stretch { start: 1711846800, end: 1729990800, offset: 7200, offset_before: 3600 };
        assert_eq!(berlin.stretch(1711846800), summer);
        assert_eq!(berlin.stretch(1729990799), summer);
        assert_eq!(berlin.stretch(1711846799).end, summer.start);
        assert_eq!(berlin.stretch(1729990800).offset_before, 7200);
        let far = berlin.stretch(3_000_000_000);
        assert!(far.start <= 3_000_000_000 && 3_000_000_000 < far.end, "{far:?}");
    }

    #[test]
    fn some_zones_never_jump() {
        let utc = Zone::named("UTC").expect("known");
        assert_eq!(utc.stretch(7), Stretch { start: -FAR, end: FAR, offset: 0, offset_before: 0 });
    }

    #[test]
    fn unknown_zones_are_refused() {
        assert!(Zone::named("asia/kolkata").is_ok());
        for unknown in ["", "Europe/Berln", "CEST+2", "Etc/Unknown", "../../etc/passwd"] {
            let error = Zone::named(unknown).expect_err(unknown);
            assert!(error.contains(&format!("{unknown:?} is not a time zone")), "{error}");
        }
    }
}
