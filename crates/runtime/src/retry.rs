//! Retrying requests to the log at the start, and when a producer is replaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::transport::{ErrorKind, TransportError};

/// Between two attempts.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Between two lines in the log about it.
const LOG_EVERY: Duration = Duration::from_secs(3);

/// Runs a request until it succeeds, fails for good, or `timeout` has passed.
pub(crate) fn until_reachable<T>(
    clock: &dyn Clock,
    broker: &str,
    timeout: Duration,
    mut attempt: impl FnMut() -> Result<T, AppError>,
) -> Result<T, AppError> {
    let started = clock.monotonic();
    let mut log_at = Duration::ZERO;
    loop {
        let last = match attempt() {
            Err(AppError::Transport(error)) if is_retriable(&error) => error,
            other => return other,
        };
        let waited = clock.monotonic().saturating_sub(started);
        if waited >= timeout {
            return Err(AppError::Unreachable { broker: broker.to_owned(), waited, last });
        }
        if waited >= log_at {
            log_at = waited + LOG_EVERY;
            tracing::warn!(broker, error = %last, "the log cannot be reached yet; retrying");
        }
        clock.sleep(RETRY_EVERY);
    }
}

/// [`until_reachable`] for the start of an application, which ends early when the start is
/// cancelled.
pub(crate) fn until_reachable_or_cancelled<T>(
    cancelled: &AtomicBool,
    clock: &dyn Clock,
    config: &Config,
    mut attempt: impl FnMut() -> Result<T, AppError>,
) -> Result<T, AppError> {
    until_reachable(clock, &config.broker, config.connect_timeout, || {
        let result = attempt();
        // After the attempt, so that a cancelled start never returns what it has opened.
        if cancelled.load(Ordering::Acquire) {
            let cause = "the start was cancelled";
            return Err(TransportError::new(ErrorKind::Refused, "connecting", cause).into());
        }
        result
    })
}

/// A client that broke is retriable here, because each attempt opens a new one.
fn is_retriable(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Unknown | ErrorKind::Fatal)
}
