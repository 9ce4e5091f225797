//! The data plane of one worker.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::transport::{FetchProgress, Fetched, Fetcher, Result};
use streams_core::TopicPartition;

use crate::cursor::{Cursor, Cursors};
use crate::error::refused;
use crate::lock::lock;
use crate::partition::ReadBudget;
use crate::shared::SharedLog;

/// The partitions that a member has assigned; its fetchers look into it.
pub(crate) type AssignedSet = Arc<Mutex<BTreeSet<TopicPartition>>>;

#[derive(Debug)]
pub(crate) struct EmbeddedFetcher {
    shared: Arc<SharedLog>,
    read_committed: bool,
    bytes_max: usize,
    assigned: AssignedSet,
    cursors: Cursors,
    wake: Arc<AtomicBool>,
}

impl EmbeddedFetcher {
    pub(crate) fn new(
        shared: Arc<SharedLog>,
        read_committed: bool,
        bytes_max: usize,
        assigned: AssignedSet,
    ) -> Self {
        Self {
            shared,
            read_committed,
            bytes_max,
            assigned,
            cursors: Cursors::default(),
            wake: Arc::default(),
        }
    }

    fn set_paused(&mut self, partition: &TopicPartition, paused: bool) -> Result<()> {
        match self.cursors.find_mut(partition) {
            Some(cursor) => cursor.paused = paused,
            None => return Err(refused(format!("pause or resume {partition}"), "not added")),
        }
        Ok(())
    }
}

impl Fetcher for EmbeddedFetcher {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        let context = || format!("fetch {partition}");
        let id = self.shared.lock().partition_id("fetch", partition)?;
        if !lock(&self.assigned).contains(partition) {
            return Err(refused(context(), "it is not assigned to this member"));
        }
        if let Some(offset) = offset.filter(|offset| *offset < 0) {
            return Err(refused(context(), format!("offset {offset} is negative")));
        }
        // Position 0 moves to the beginning by itself.
        let paused = self.cursors.find(partition).is_some_and(|cursor| cursor.paused);
        let mut cursor = Cursor::new(id, offset.unwrap_or(0));
        cursor.paused = paused;
        self.cursors.insert(partition.clone(), cursor);
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.cursors.remove(partition);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.set_paused(partition, true)
    }

    fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.set_paused(partition, false)
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        let budget = ReadBudget { records: records_max, bytes: self.bytes_max.max(1) };
        self.cursors.poll(&self.shared, self.read_committed, timeout, budget, Some(&self.wake))
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let shared = self.shared.clone();
        let wake = self.wake.clone();
        Arc::new(move || {
            wake.store(true, Ordering::Release);
            // Take the lock first: a poll may have read the flag and not started to wait.
            drop(shared.lock());
            shared.notify_data();
        })
    }

    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        let Some(cursor) = self.cursors.find(partition) else { return false };
        let state = self.shared.lock();
        let partition = &state.partitions[cursor.id as usize];
        state.failure.is_none() && cursor.position >= partition.limit(self.read_committed)
    }

    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        let state = self.shared.lock();
        let progress = |(name, cursor): (&TopicPartition, &Cursor)| {
            let end = state.partitions[cursor.id as usize].limit(self.read_committed);
            (name.clone(), FetchProgress { position: cursor.position, end })
        };
        self.cursors.iter().map(progress).collect()
    }
}
