//! One time for the log and for all instances, moved by the simulation alone. What differs is what
//! an instance takes for the date.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use runtime::{Clock, ManualClock};
use streams_core::Timestamp;

use super::START;
use super::world::SimulatedWorld;
use crate::lock::lock;
use crate::virtual_time::VirtualTime;

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

impl SimulatedWorld {
    /// How long the world has been there.
    pub(super) fn since_start(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.now() - START).unwrap_or(0))
    }

    /// Where the agents of an instance sleep; its timers have come to the world's time. They do
    /// when it has its turn: a process that stands still sees what is due when it goes on.
    pub(super) fn time_of(&self, index: usize) -> Option<Arc<VirtualTime>> {
        let time = lock(&self.slots[index].time).clone()?;
        time.pass(self.since_start(), false);
        Some(time)
    }
}
