//! One time for the log and for all instances, moved by the simulation alone. What differs is what
//! an instance takes for the date.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use runtime::{Clock, ManualClock};
use streams_core::Timestamp;

/// An instance's clock: its date may be wrong, and may be set while it runs.
#[derive(Clone, Debug)]
pub(super) struct InstanceClock {
    pub(super) time: ManualClock,
    /// By how many milliseconds the date is wrong.
    pub(super) off: Arc<AtomicI64>,
}

impl Clock for InstanceClock {
    fn now(&self) -> Timestamp {
        self.time.now().saturating_add(self.off.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.time.sleep(time);
    }
}
