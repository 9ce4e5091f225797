//! Fetching and restoring with faults.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{FetchProgress, Fetched, Fetcher, Reader, Result};
use streams_core::TopicPartition;

use super::{Call, Fault, Faults};

/// A poll of at most `most` records, or of as many as its fault lets through.
fn polled(
    faults: &Faults,
    call: Call,
    most: usize,
    mut poll: impl FnMut(usize) -> Result<Vec<Fetched>>,
) -> Result<Vec<Fetched>> {
    match faults.meet(call)? {
        Some(Fault::Partial(0)) if faults.lives() => Ok(Vec::new()),
        Some(Fault::Partial(few)) => faults.with(call, None, || poll(few.min(most))),
        fault => faults.with(call, fault, || poll(most)),
    }
}

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
        let Self { fetcher, faults } = self;
        polled(faults, Call::Fetch, records_max, |most| fetcher.poll(timeout, most))
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.fetcher.waker()
    }

    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        self.fetcher.is_at_end(partition)
    }

    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        self.fetcher.progress()
    }

    fn waiting_bytes(&self) -> usize {
        self.fetcher.waiting_bytes()
    }
}

pub(super) struct FaultyReader {
    pub(super) reader: Box<dyn Reader>,
    pub(super) faults: Faults,
}

impl Reader for FaultyReader {
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)> {
        let Self { reader, faults } = self;
        let fault = faults.meet(Call::Bounds)?;
        let (begin, end) =
            faults.with(Call::Bounds, fault, || reader.bounds(partition, timeout))?;
        match fault {
            Some(Fault::Outdated(less)) => Ok((begin, begin.max(end - less as i64))),
            _ => Ok((begin, end)),
        }
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.reader.add(partition, offset)
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.reader.remove(partition)
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        let Self { reader, faults } = self;
        polled(faults, Call::Restore, records_max, |most| reader.poll(timeout, most))
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.reader.position(partition)
    }

    fn waiting_bytes(&self) -> usize {
        self.reader.waiting_bytes()
    }
}
