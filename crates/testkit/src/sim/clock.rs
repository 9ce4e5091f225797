//! One time for the log and for all instances, moved by the simulation alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use streams_core::Timestamp;

/// Clones show the same time.
#[derive(Clone, Debug)]
pub(super) struct SimClock(Arc<AtomicI64>);

impl SimClock {
    pub(super) fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start)))
    }

    pub(super) fn millis(&self) -> Timestamp {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis.max(0), Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.millis()).unwrap_or(0))
    }
}

impl runtime::Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.millis()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }

    fn sleep(&self, time: Duration) {
        self.advance(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    }
}

impl embedded::Clock for SimClock {
    fn wall(&self) -> Timestamp {
        self.millis()
    }

    fn elapsed(&self) -> Duration {
        SimClock::elapsed(self)
    }

    fn may_wait(&self) -> bool {
        false
    }
}
