//! How long something has been retried, and when to log that.

use std::time::Duration;

use crate::error::AppError;
use crate::transport::{ErrorKind, TransportError};

#[derive(Default)]
pub(super) struct RetryWait {
    /// When the first attempt failed.
    began: Option<Duration>,
    /// When a warning was last logged.
    logged: Duration,
}

/// After this long, retries are logged as warnings. A transaction that is left open ends by itself
/// within about this time; one that does not, holds its partitions until an operator aborts it.
const LONG: Duration = Duration::from_secs(15);

impl RetryWait {
    /// There is nothing to wait for any more.
    pub(super) fn reset(&mut self) {
        self.began = None;
    }

    /// How long it has been retried.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_sub(began))
    }

    /// Notes a failed attempt. Returns `Ok` if the next turn should repeat it, and the error if
    /// repeating cannot help.
    pub(super) fn retry_or_fail(
        &mut self,
        now: Duration,
        error: TransportError,
        what: &'static str,
    ) -> Result<(), AppError> {
        if !is_retriable(&error) {
            return Err(error.into());
        }
        let began = *self.began.get_or_insert(now);
        let waited = now.saturating_sub(began);
        if waited >= LONG && now.saturating_sub(self.logged) >= LONG {
            self.logged = now;
            tracing::warn!(%error, ?waited, "{what}; retrying until it succeeds");
        } else {
            tracing::debug!(%error, ?waited, "{what}");
        }
        Ok(())
    }
}

/// Look-ups have no effect, so an unknown outcome is retriable too, and so is a membership that
/// the client has not got back yet.
fn is_retriable(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Unknown | ErrorKind::Fenced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retriable_errors_are_retried_and_others_are_returned() {
        let mut wait = RetryWait::default();
        let error = |kind| TransportError::new(kind, "the offsets", "an open transaction");
        for seconds in [0, 10, 20, 30] {
            let now = Duration::from_secs(seconds);
            let retried = wait.retry_or_fail(now, error(ErrorKind::Retriable), "not yet");
            assert!(retried.is_ok());
            let logged = if seconds < 20 { Duration::ZERO } else { Duration::from_secs(20) };
            assert_eq!(wait.logged, logged, "after {seconds} s");
        }
        wait.reset();
        assert!(wait.retry_or_fail(LONG * 9, error(ErrorKind::Retriable), "not yet").is_ok());
        assert_eq!(wait.logged, Duration::from_secs(20), "it has only begun");
        assert!(wait.retry_or_fail(LONG * 9, error(ErrorKind::Refused), "not yet").is_err());
    }
}
