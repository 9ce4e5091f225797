//! Settings of calls.

use std::time::Duration;

use crate::backoff::Backoff;

/// How [`Stream::map_async`](crate::Stream::map_async) makes its calls.
///
/// ```
/// use std::time::Duration;
/// use headwater::agents::Async;
/// use headwater::errors::Backoff;
/// let second = Duration::from_secs(1);
/// let calls = Async::in_flight(64)
///     .timeout(5 * second)
///     .retry(4, Backoff::exponential(second, 30 * second))
///     .serial_per_key();
/// # let _ = calls;
/// ```
#[derive(Clone, Debug)]
pub struct Async {
    pub(super) in_flight: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) is_serial_per_key: bool,
}

impl Async {
    /// Allows this many concurrent calls for each task, at least one. Each call has one attempt,
    /// without a time limit.
    pub fn in_flight(calls: usize) -> Self {
        Self {
            in_flight: calls.max(1),
            timeout: None,
            attempts: 1,
            backoff: Backoff::fixed(Duration::ZERO),
            is_serial_per_key: false,
        }
    }

    /// Limits how long an attempt may take. After that its future is dropped, and the attempt has
    /// failed. Default: no limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how often a failed call is repeated, and the pause before each repetition, as for
    /// [`ErrorPolicy::retry`](crate::ErrorPolicy::retry). If the last attempt fails, the source's
    /// error policy decides about the record. Default: 0. Attempts are counted in memory: after a
    /// crash the count starts again.
    #[must_use]
    pub fn retry(mut self, retries: u32, backoff: Backoff) -> Self {
        self.attempts = retries.saturating_add(1);
        self.backoff = backoff;
        self
    }

    /// Starts a record's call only when the call of the previous record with the same key is
    /// finished. Keys are compared by their bytes in the topic; records without a key do not wait.
    /// Default: only results are in order, not calls.
    #[must_use]
    pub fn serial_per_key(mut self) -> Self {
        self.is_serial_per_key = true;
        self
    }
}
