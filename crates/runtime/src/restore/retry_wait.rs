//! Waiting for what somebody else has to do first, and saying so if it takes long.

use std::time::Duration;

use crate::error::AppError;
use crate::transport::{ErrorKind, TransportError};

/// A look-up that has to be made again: since when, and when that was said last.
#[derive(Default)]
pub(crate) struct RetryWait {
    began: Option<Duration>,
    said: Duration,
}

/// A transaction that is left open ends by itself within about so much time. One that nobody ends
/// keeps its partitions, and whoever waits for them, until an operator aborts it.
const LONG: Duration = Duration::from_secs(15);

impl RetryWait {
    /// There is nothing to wait for any more.
    pub(super) fn over(&mut self) {
        self.began = None;
    }

    /// How long it has been waited, if it has been.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_sub(began))
    }

    /// What may work later is tried again at the next turn.
    pub(super) fn retry_or_fail(
        &mut self,
        now: Duration,
        error: TransportError,
        what: &'static str,
    ) -> Result<(), AppError> {
        match error.kind() {
            ErrorKind::Retriable | ErrorKind::Unknown | ErrorKind::Fenced => {}
            _ => return Err(error.into()),
        }
        let began = *self.began.get_or_insert(now);
        let waited = now.saturating_sub(began);
        if waited >= LONG && now.saturating_sub(self.said) >= LONG {
            self.said = now;
            tracing::warn!(%error, ?waited, "{what}; it is tried again until it works");
        } else {
            tracing::debug!(%error, ?waited, "{what}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_for_what_passes_and_ends_for_what_does_not() {
        let mut delay = RetryWait::default();
        let error = |kind| TransportError::new(kind, "the offsets", "an open transaction");
        for seconds in [0, 10, 20, 30] {
            let now = Duration::from_secs(seconds);
            let waits = delay.retry_or_fail(now, error(ErrorKind::Retriable), "not yet");
            assert!(waits.is_ok());
            let said = if seconds < 20 { Duration::ZERO } else { Duration::from_secs(20) };
            assert_eq!(delay.said, said, "after {seconds} s");
        }
        delay.over();
        assert!(delay.retry_or_fail(LONG * 9, error(ErrorKind::Retriable), "not yet").is_ok());
        assert_eq!(delay.said, Duration::from_secs(20), "it has only begun");
        assert!(delay.retry_or_fail(LONG * 9, error(ErrorKind::Refused), "not yet").is_err());
    }
}
