//! One time for the log and all instances, which only the simulation moves. Only the date differs
//! between instances.

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
    /// The error of the date, in milliseconds.
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
    /// The time since the world began.
    pub(super) fn since_start(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.now() - START).unwrap_or(0))
    }

    /// The virtual time of an instance's agents, moved up to the world's time when the instance has
    /// its turn: a frozen process sees what is due when it resumes.
    pub(super) fn time_of(&self, index: usize) -> Option<Arc<VirtualTime>> {
        let time = lock(&self.slots[index].time).clone()?;
        time.pass(self.since_start(), false);
        Some(time)
    }
}
