//! Fetching and restoring with faults.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{Fetched, Fetcher, Reader, Result};
use streams_core::TopicPartition;

use super::{Call, Faults};

pub(super) struct FaultyFetcher {
    pub(super) fetcher: Box<dyn Fetcher>,
    pub(super) faults: Faults,
}

impl Fetcher for FaultyFetcher {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        self.fetcher.add(partition, offset)
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.fetcher.remove(partition)
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.fetcher.pause(partition)
    }

    fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.fetcher.resume(partition)
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.faults.call(Call::Fetch, || self.fetcher.poll(timeout, records_max))
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.fetcher.waker()
    }

    fn high_watermarks(&self) -> Vec<(TopicPartition, i64)> {
        self.fetcher.high_watermarks()
    }
}

pub(super) struct FaultyReader {
    pub(super) reader: Box<dyn Reader>,
    pub(super) faults: Faults,
}

impl Reader for FaultyReader {
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)> {
        self.faults.call(Call::Bounds, || self.reader.bounds(partition, timeout))
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.reader.add(partition, offset)
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.reader.remove(partition)
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.faults.call(Call::Restore, || self.reader.poll(timeout, records_max))
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.reader.position(partition)
    }
}
