//! A reader of partitions outside any group.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{Fetched, Reader, ReaderConfig, Result};
use streams_core::TopicPartition;

use crate::cursor::{Cursor, Cursors};
use crate::partition::ReadBudget;
use crate::shared::SharedLog;

/// The most bytes that one poll delivers, approximately.
const POLL_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct EmbeddedReader {
    shared: Arc<SharedLog>,
    read_committed: bool,
    cursors: Cursors,
}

impl EmbeddedReader {
    pub(crate) fn new(shared: Arc<SharedLog>, config: &ReaderConfig) -> Self {
        let read_committed = config.read_committed;
        Self { shared, read_committed, cursors: Cursors::default() }
    }
}

impl Reader for EmbeddedReader {
    fn bounds(&mut self, partition: &TopicPartition, _: Duration) -> Result<(i64, i64)> {
        let state = self.shared.lock_now();
        state.check_health()?;
        let id = state.partition_id("find the bounds of", partition)?;
        let partition = state.partition(id);
        Ok((partition.start, partition.visible))
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        let id = self.shared.lock().partition_id("read", partition)?;
        self.cursors.insert(partition.clone(), Cursor::new(id, offset));
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.cursors.remove(partition);
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        let budget = ReadBudget { records: records_max, bytes: POLL_BYTES_MAX };
        self.cursors.poll(&self.shared, self.read_committed, timeout, budget, None)
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.cursors.find(partition).map(|cursor| cursor.position)
    }
}
