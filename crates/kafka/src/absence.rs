//! A group member that does not become one again.
//!
//! After a broker's death a client of librdkafka was seen not to come back to the group, without a
//! word, while others did.

use std::time::{Duration, Instant};

/// How long the client has been nobody in the group.
pub(crate) struct Absence {
    since: Option<Instant>,
    /// So long is in order: a rebalance waits for other members, for as long as a session.
    patience: Duration,
}

const PATIENCE_MIN: Duration = Duration::from_secs(30);

impl Absence {
    pub(crate) fn new(session_timeout: Duration) -> Self {
        Self { since: None, patience: PATIENCE_MIN.max(session_timeout * 3) }
    }

    /// Whether it has been too long by now. It has to be as long again to be so again.
    pub(crate) fn is_too_long(&mut self, is_member: bool, now: Instant) -> bool {
        if is_member {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_over = now.saturating_duration_since(since) >= self.patience;
        if is_over {
            self.since = Some(now);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_membership_s_end_and_is_told_once() {
        let (mut absence, start) = (Absence::new(Duration::from_secs(20)), Instant::now());
        let mut at = |seconds, is_member| {
            absence.is_too_long(is_member, start + Duration::from_secs(seconds))
        };
        assert!(!at(0, false) && !at(59, false) && !at(60, true), "it was away for a while");
        assert!(!at(100, false) && !at(159, false) && at(160, false));
        assert!(!at(161, false) && !at(219, false) && at(220, false), "somebody was not reached");
        assert_eq!(Absence::new(Duration::from_secs(1)).patience, PATIENCE_MIN);
    }
}
