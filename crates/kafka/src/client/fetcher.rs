//! The transport's fetcher over our own client.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::{ClientFetcher, FetchSettings, KafkaCluster, MemoryShare};
use runtime::transport::{FetchProgress, Fetched, Fetcher, Result};
use streams_core::TopicPartition;

use super::batch::fetched;
use super::convert::{error, id, partition_of};

pub(crate) struct OwnFetcher(ClientFetcher);

impl OwnFetcher {
    pub(crate) fn new(
        cluster: &Arc<KafkaCluster>,
        settings: FetchSettings,
        share: MemoryShare,
    ) -> Result<Self> {
        ClientFetcher::new(cluster, settings, share).map(Self).map_err(error)
    }
}

impl Fetcher for OwnFetcher {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        self.0.add(&id(partition), offset);
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.0.remove(&id(partition));
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.0.pause(&id(partition));
        Ok(())
    }

    fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.0.resume(&id(partition));
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.0.poll(timeout, records_max).map(fetched).map_err(error)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.0.waker()
    }

    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        self.0.is_at_end(&id(partition))
    }

    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        let all = self.0.progress().into_iter();
        let of_transport = all.map(|(id, progress)| {
            let kafka_client::PartitionProgress { position, end } = progress;
            (partition_of(&id), FetchProgress { position, end })
        });
        of_transport.collect()
    }

    fn waiting_bytes(&self) -> usize {
        self.0.waiting_bytes()
    }
}
