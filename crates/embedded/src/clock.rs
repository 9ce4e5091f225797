//! Where the log's time comes from.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use runtime::{Clock as _, ManualClock};
use streams_core::Timestamp;

/// The log's clock. Retention uses the date; time-outs use the time elapsed.
pub trait LogClock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch.
    fn wall(&self) -> Timestamp;

    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;

    /// Whether a call with a time-out may wait. If not, time moves only when the test moves it, and
    /// a wait would never end: every call returns at once, as if its time-out were zero.
    fn may_wait(&self) -> bool;
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemLogClock(Instant);

impl SystemLogClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemLogClock {
    fn default() -> Self {
        Self::new()
    }
}

impl LogClock for SystemLogClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn may_wait(&self) -> bool {
        true
    }
}

/// Nothing waits under a clock that is moved by hand: for tests and simulations.
impl LogClock for ManualClock {
    fn wall(&self) -> Timestamp {
        self.now()
    }

    fn elapsed(&self) -> Duration {
        self.monotonic()
    }

    fn may_wait(&self) -> bool {
        false
    }
}
