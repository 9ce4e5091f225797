//! The transport's reader over our own client.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::{FetchSettings, KafkaCluster, PartitionReader};
use runtime::transport::{Fetched, Reader, Result};
use streams_core::TopicPartition;

use super::batch::fetched;
use super::convert::{error, id};

pub(crate) struct OwnReader(PartitionReader);

impl OwnReader {
    /// At most `bytes_max` bytes may wait.
    pub(crate) fn new(
        cluster: Arc<KafkaCluster>,
        settings: FetchSettings,
        bytes_max: usize,
    ) -> Result<Self> {
        PartitionReader::new(cluster, settings, bytes_max).map(Self).map_err(error)
    }
}

impl Reader for OwnReader {
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)> {
        self.0.bounds(&id(partition), timeout).map_err(error)
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.0.add(&id(partition), offset);
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.0.remove(&id(partition));
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.0.poll(timeout, records_max).map(fetched).map_err(error)
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.position(&id(partition))
    }

    fn waiting_bytes(&self) -> usize {
        self.0.waiting_bytes()
    }
}
