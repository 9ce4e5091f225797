//! CPU time of all threads, minus what this one spends on feeding and watching.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Of the whole process.
pub(crate) fn process() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// Of this thread.
pub(crate) fn thread() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// Of all threads except this one.
pub(crate) fn others() -> Duration {
    process().saturating_sub(thread())
}

/// Nanoseconds for each of `count`.
pub(crate) fn each(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / count as f64
}
