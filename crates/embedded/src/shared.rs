//! The lock around the state, waiting for changes, and writing them to disk.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::transport::{Result, TransportError};

use crate::clock::LogClock;
use crate::disk::Disk;
use crate::error::fatal;
use crate::lock::lock;
use crate::maintenance::MAINTENANCE_INTERVAL_MS;
use crate::state::LogState;

/// What all clients of a log share.
///
/// Lock order: maintenance, disk, state. No disk access happens under the state's lock.
#[derive(Debug)]
pub(crate) struct SharedLog {
    state: Mutex<LogState>,
    /// Something became visible to readers.
    data: Condvar,
    /// Something happened in a group.
    groups: Condvar,
    pub(crate) clock: Arc<dyn LogClock>,
    pub(crate) disk: Option<Disk>,
    /// How many bytes may be waiting for the disk.
    dirty_bytes_max: usize,
    pub(crate) maintenance: Mutex<()>,
    next_maintenance: AtomicI64,
}

/// The event that a client waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitFor {
    Data,
    /// A change in a group. The waiting client also removes silent members.
    Groups,
    /// Offsets to become stable.
    Offsets,
}

impl SharedLog {
    pub(crate) fn new(
        mut state: LogState,
        clock: Arc<dyn LogClock>,
        disk: Option<Disk>,
        cache_bytes: usize,
    ) -> Self {
        state.cache.bytes_max = cache_bytes;
        let next_maintenance = AtomicI64::new(clock.wall().saturating_add(MAINTENANCE_INTERVAL_MS));
        Self {
            state: Mutex::new(state),
            data: Condvar::new(),
            groups: Condvar::new(),
            clock,
            disk,
            dirty_bytes_max: (cache_bytes / 2).max(1 << 20),
            maintenance: Mutex::new(()),
            next_maintenance,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LogState> {
        lock(&self.state)
    }

    /// Locks the state, after expiring members and transactions.
    pub(crate) fn lock_now(&self) -> MutexGuard<'_, LogState> {
        let now = self.clock.elapsed();
        let mut state = self.lock();
        if state.expire_transactions(now) {
            state = self.settle(state);
        }
        state
    }

    /// Publishes the ends of transactions, through the disk if there is one.
    fn settle<'a>(&'a self, state: MutexGuard<'a, LogState>) -> MutexGuard<'a, LogState> {
        drop(state);
        // A failure is recorded in the state, which then refuses every call.
        let _ = self.sync();
        self.notify();
        self.lock()
    }

    /// Wakes all waiting clients.
    pub(crate) fn notify(&self) {
        self.data.notify_all();
        self.groups.notify_all();
    }

    pub(crate) fn notify_data(&self) {
        self.data.notify_all();
    }

    pub(crate) fn notify_groups(&self) {
        self.groups.notify_all();
    }

    /// Waits for this event until `deadline` at most; `None` once it has passed.
    pub(crate) fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, LogState>,
        what: WaitFor,
        deadline: Duration,
    ) -> Option<MutexGuard<'a, LogState>> {
        let now = self.clock.elapsed();
        if now >= deadline || !self.clock.may_wait() {
            return None;
        }
        // The log has no thread, so the waiting client must notice the time-outs of others.
        let mut until = deadline;
        until = state.transaction_deadline.map_or(until, |other| until.min(other));
        if let WaitFor::Groups = what {
            let expiries = state.groups.values().filter_map(|group| group.deadline());
            until = expiries.fold(until, Duration::min);
        }
        let timeout = until.saturating_sub(now).max(Duration::from_micros(100));
        let condition = match what {
            WaitFor::Data => &self.data,
            WaitFor::Groups | WaitFor::Offsets => &self.groups,
        };
        let woken = condition.wait_timeout(state, timeout);
        Some(woken.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The deadline of a call with this time-out.
    pub(crate) fn deadline(&self, timeout: Duration) -> Duration {
        self.clock.elapsed().saturating_add(timeout)
    }

    /// Writes everything that happened before this call to disk, then shows it to readers.
    /// Concurrent calls share one write: the first to get the disk writes for all that wait.
    pub(crate) fn sync(&self) -> Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let wanted = self.lock().unflushed.as_ref().map_or(0, |unflushed| unflushed.changes);
        let mut writer = disk.lock();
        if writer.written >= wanted {
            return self.lock().check_health();
        }
        let batch = {
            let mut state = self.lock();
            state.check_health()?;
            disk.take_batch(&mut state)
        };
        let written = disk.write(&mut writer, &batch);
        let mut state = self.lock();
        if let Err(cause) = written {
            let failure = cause.to_string();
            tracing::error!(%failure, "the embedded log has stopped");
            state.failure = Some(failure.clone());
            return Err(fatal("the embedded log has stopped", failure));
        }
        batch.show(&mut state);
        state.evict();
        drop(state);
        self.notify();
        Ok(())
    }

    /// Writes to disk if too many bytes are waiting for it.
    pub(crate) fn sync_if_much(&self) -> Result<()> {
        if self.disk.is_none() {
            return Ok(());
        }
        let waiting = self.lock().unflushed.as_ref().map_or(0, |unflushed| unflushed.segment_bytes);
        if waiting > self.dirty_bytes_max { self.sync() } else { Ok(()) }
    }

    /// Runs maintenance if it is due. Its errors are logged, because they do not concern the
    /// caller.
    pub(crate) fn maintain_if_due(&self) {
        let now = self.clock.wall();
        let due = self.next_maintenance.load(Ordering::Relaxed);
        let next = now.saturating_add(MAINTENANCE_INTERVAL_MS);
        let relaxed = Ordering::Relaxed;
        if now < due || self.next_maintenance.compare_exchange(due, next, relaxed, relaxed).is_err()
        {
            return;
        }
        if let Err(error) = self.maintain(now, false) {
            tracing::warn!(%error, "maintenance of the embedded log failed");
        }
    }
}

/// An error for a transactional request whose outcome is unknown.
pub(crate) fn unknown(doing: &str, cause: TransportError) -> TransportError {
    TransportError::new(runtime::transport::ErrorKind::Unknown, doing, cause)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redb::backends::InMemoryBackend;
    use runtime::{ManualClock, transport::NewTopic};

    use super::*;
    use crate::chunk::{Chunk, NewRecord};
    use crate::disk::DiskOptions;

    #[test]
    fn no_more_than_the_cache_stays_in_memory() {
        let opening = DiskOptions { cache_bytes: 10_000, verify: true, skip: false };
        let (disk, state) = Disk::open_on(InMemoryBackend::new(), opening).unwrap();
        let shared = SharedLog::new(state, Arc::new(ManualClock::new(0)), Some(disk), 10_000);
        let topic = NewTopic { name: "t".into(), partitions: 3, replication: None, config: vec![] };
        shared.lock().create_topic(&topic).unwrap();
        for n in 0..300 {
            let mut chunk = Chunk::default();
            let value = Some(&[0; 500][..]);
            chunk.push(0, NewRecord { key: None, value, timestamp: 0, headers: b"" });
            shared.lock().append(n % 3, chunk, None);
            if n % 7 == 0 {
                shared.sync().unwrap();
            }
        }
        shared.sync().unwrap();
        let state = shared.lock();
        let tails = state.partitions.iter().flat_map(|partition| &partition.tail);
        let in_memory: usize = tails.map(|segment| segment.chunk.weight()).sum();
        assert!((5_000..=10_000).contains(&in_memory), "{in_memory} bytes in memory");
        for partition in &state.partitions {
            assert_eq!(partition.tail.front().map(|first| first.base), Some(partition.cached_from));
        }
    }
}
