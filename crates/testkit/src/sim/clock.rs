//! One time for the log and for all instances, moved by the simulation alone.

use std::time::Duration;

use runtime::{Clock as _, ManualClock};
use streams_core::Timestamp;

/// The instances' clock, as the log wants it.
#[derive(Debug)]
pub(super) struct LogClock(pub(super) ManualClock);

impl embedded::Clock for LogClock {
    fn wall(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.monotonic()
    }

    fn may_wait(&self) -> bool {
        false
    }
}
