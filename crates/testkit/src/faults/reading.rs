//! Fetching and restoring with faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{FetchProgress, Fetched, Fetcher, Reader, Result};
use streams_core::TopicPartition;

use super::{Fault, Faults, TransportCall};

/// A poll of at most `most` records, or as many as its fault allows.
fn polled(
    faults: &Faults,
    call: TransportCall,
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
    fetcher: Box<dyn Fetcher>,
    faults: Faults,
    added: BTreeMap<TopicPartition, AddedPartition>,
}

/// A partition that was added.
#[derive(Default)]
struct AddedPartition {
    is_paused: bool,
    /// Its leader is unavailable: it is paused whatever the caller says.
    is_away: bool,
}

impl FaultyFetcher {
    pub(super) fn new(fetcher: Box<dyn Fetcher>, faults: Faults) -> Self {
        Self { fetcher, faults, added: BTreeMap::new() }
    }

    /// Pauses partitions whose leader is unavailable.
    fn follow_leaders(&mut self) -> Result<()> {
        for (partition, added) in &mut self.added {
            let is_away = self.faults.is_away(partition);
            if is_away && !added.is_away && !added.is_paused {
                self.fetcher.pause(partition)?;
            } else if !is_away && added.is_away && !added.is_paused {
                self.fetcher.resume(partition)?;
            }
            added.is_away = is_away;
        }
        Ok(())
    }

    fn set_paused(&mut self, partition: &TopicPartition, is_paused: bool) -> Result<()> {
        if let Some(added) = self.added.get_mut(partition) {
            added.is_paused = is_paused;
            if added.is_away {
                return Ok(());
            }
        }
        match is_paused {
            true => self.fetcher.pause(partition),
            false => self.fetcher.resume(partition),
        }
    }
}

impl Fetcher for FaultyFetcher {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        self.added.entry(partition.clone()).or_default();
        self.fetcher.add(partition, offset)
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.added.remove(partition);
        self.fetcher.remove(partition)
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.set_paused(partition, true)
    }

    fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.set_paused(partition, false)
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.follow_leaders()?;
        let Self { fetcher, faults, .. } = self;
        polled(faults, TransportCall::Fetch, records_max, |most| fetcher.poll(timeout, most))
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.fetcher.waker()
    }

    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        !self.faults.is_away(partition) && self.fetcher.is_at_end(partition)
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
        let fault = faults.meet(TransportCall::Bounds)?;
        let (begin, end) =
            faults.with(TransportCall::Bounds, fault, || reader.bounds(partition, timeout))?;
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
        polled(faults, TransportCall::Restore, records_max, |most| reader.poll(timeout, most))
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.reader.position(partition)
    }

    fn waiting_bytes(&self) -> usize {
        self.reader.waiting_bytes()
    }
}
