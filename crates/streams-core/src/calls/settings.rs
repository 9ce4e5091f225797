//! How calls are made.

use std::time::Duration;

use crate::backoff::Backoff;

/// How [`Stream::map_async`](crate::Stream::map_async) calls.
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
    /// At most so many calls at a time for each task, at least one. One attempt each, which may
    /// take any time.
    pub fn in_flight(calls: usize) -> Self {
        Self {
            in_flight: calls.max(1),
            timeout: None,
            attempts: 1,
            backoff: Backoff::fixed(Duration::ZERO),
            is_serial_per_key: false,
        }
    }

    /// How long an attempt may take; its future is dropped then, and it has failed. Default: any
    /// time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many more times a call is tried after it has failed, and how long to wait before each,
    /// counted as [`ErrorPolicy::retry`](crate::ErrorPolicy::retry) counts. A record whose last
    /// attempt fails is dealt with by its source's error policy. Default: 0. The attempts are
    /// counted in memory: after a crash they begin again.
    #[must_use]
    pub fn retry(mut self, retries: u32, backoff: Backoff) -> Self {
        self.attempts = retries.saturating_add(1);
        self.backoff = backoff;
        self
    }

    /// A record's call begins when that of the record before it with the same key is over. The key
    /// is that of the topic, by its bytes; records without a key wait for nobody. Default: only
    /// results are in order, calls are not.
    #[must_use]
    pub fn serial_per_key(mut self) -> Self {
        self.is_serial_per_key = true;
        self
    }
}
