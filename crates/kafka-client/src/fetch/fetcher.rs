//! Fetches the partitions that were added.

use std::sync::Arc;
use std::time::Duration;

use super::batch::FetchedBatch;
use super::buffer::{FetchBuffer, SharedFetchBuffer};
use super::leader_finder::LeaderFinder;
use super::state::PartitionProgress;
use crate::Result;
use crate::cluster::KafkaCluster;
use crate::partition::PartitionId;
use crate::settings::FetchSettings;

/// Fetches the partitions that were added, from their leaders. Its threads end when it is dropped.
pub struct ClientFetcher {
    buffer: SharedFetchBuffer,
}

/// A part of the bytes that may wait in a process; all holders have the same.
#[derive(Clone)]
pub struct MemoryShare {
    whole: usize,
    holders: Arc<()>,
}

impl MemoryShare {
    /// `whole` bytes, to be shared out by cloning; the original does not count.
    pub fn new(whole: usize) -> Self {
        Self { whole, holders: Arc::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        let holders = Arc::strong_count(&self.holders).saturating_sub(1);
        self.whole / holders.max(1)
    }
}

impl ClientFetcher {
    /// A fetcher of which at most `share` may wait.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(
        cluster: &Arc<KafkaCluster>,
        settings: FetchSettings,
        share: MemoryShare,
    ) -> Result<Self> {
        let buffer = Arc::new(FetchBuffer::new(settings, share));
        LeaderFinder::start(&buffer, cluster)?;
        Ok(Self { buffer })
    }

    /// Starts fetching `partition` at exactly `offset`, or at the beginning with `None`. Also moves
    /// a partition that was added before: what was fetched of it earlier is not delivered any more.
    pub fn add(&self, partition: &PartitionId, offset: Option<i64>) {
        self.buffer.add(partition, offset);
    }

    /// Stops fetching it.
    pub fn remove(&self, partition: &PartitionId) {
        self.buffer.remove(partition);
    }

    /// Stops delivering it for a while; nothing is lost.
    pub fn pause(&self, partition: &PartitionId) {
        self.buffer.pause(partition, true);
    }

    /// Resumes delivering it where it was paused.
    pub fn resume(&self, partition: &PartitionId) {
        self.buffer.pause(partition, false);
    }

    /// Waits at most `timeout` for records. Delivers about `records_max` of them at most, grouped
    /// by partition.
    ///
    /// # Errors
    /// A partition cannot be fetched, and trying again does not help; or the fetcher has failed.
    pub fn poll(&self, timeout: Duration, records_max: usize) -> Result<Vec<FetchedBatch>> {
        self.buffer.poll(timeout, records_max)
    }

    /// Ends a [`poll`](Self::poll) that waits in another thread, or else the next one.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let buffer = Arc::clone(&self.buffer);
        Arc::new(move || buffer.wake())
    }

    /// Whether everything was delivered, and the leader had nothing more when it last answered,
    /// which was a moment ago.
    pub fn is_at_end(&self, partition: &PartitionId) -> bool {
        self.buffer.is_at_end(partition)
    }

    /// How far each partition was delivered, and where it ended when its leader last answered, as
    /// far as that is known.
    pub fn progress(&self) -> Vec<(PartitionId, PartitionProgress)> {
        self.buffer.progress()
    }

    /// Bytes that were fetched and wait to be delivered.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.waiting_bytes()
    }
}

impl Drop for ClientFetcher {
    fn drop(&mut self) {
        self.buffer.close();
    }
}
