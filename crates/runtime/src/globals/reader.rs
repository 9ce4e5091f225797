//! Reads the topics of global tables.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{ErrorPolicy, RecordBatch, Timestamp, TopicPartition, Topology};

use super::{GlobalStores, StoredPosition};
use crate::clock::Clock;
use crate::error::AppError;
use crate::status::{GlobalState, StatusHandle};
use crate::stores::STALE_MS;
use crate::topics::TopicMetadata;
use crate::transport::{ErrorKind, Fetched, Reader, TransportError};

/// Records taken from the log at a time.
const RECORDS_MAX: usize = 10_000;

/// How long a look-up of a partition's bounds may block, since others may wait their turn.
const LOOK_UP_TIMEOUT: Duration = Duration::from_millis(500);

/// Brings global tables up to date, and keeps them so.
pub(crate) struct GlobalReader {
    topology: Arc<Topology>,
    stores: Arc<GlobalStores>,
    reader: Box<dyn Reader>,
    clock: Arc<dyn Clock>,
    partitions: Vec<GlobalPartition>,
    status: StatusHandle,
}

/// A partition of a global table's topic.
struct GlobalPartition {
    table: usize,
    partition: TopicPartition,
    /// `None` until it is decided where to begin.
    progress: Option<ReadProgress>,
}

/// How far a partition was read.
#[derive(Clone, Copy)]
struct ReadProgress {
    /// The next offset to read.
    position: i64,
    /// The end that must be reached before tasks start.
    target: i64,
}

/// What is known of a partition before it is read.
struct PartitionStart {
    stored: Option<StoredPosition>,
    begin: i64,
    end: i64,
}

impl GlobalReader {
    pub(crate) fn new(
        topology: &Arc<Topology>,
        metadata: &TopicMetadata,
        stores: Arc<GlobalStores>,
        reader: Box<dyn Reader>,
        clock: Arc<dyn Clock>,
        status: StatusHandle,
    ) -> Self {
        let mut partitions = Vec::new();
        for (table, source) in topology.globals().iter().enumerate() {
            status.set_global_state(source.name(), source.topic(), GlobalState::Restoring);
            for partition in 0..metadata.partitions(source.topic()).unwrap_or(0) {
                let partition = TopicPartition::new(Arc::clone(source.topic()), partition);
                partitions.push(GlobalPartition { table, partition, progress: None });
            }
        }
        Self { topology: Arc::clone(topology), stores, reader, clock, partitions, status }
    }

    /// Reads what has come. Waits at most `wait` for something.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), AppError> {
        if self.partitions.iter().any(|one| one.progress.is_none()) {
            let started = self.start();
            return started.or_else(|error| retry_later(error, wait));
        }
        match self.reader.poll(wait, RECORDS_MAX) {
            Ok(fetched) => {
                for Fetched { partition, batch } in fetched {
                    self.apply(&partition, &*batch)?;
                }
            }
            Err(error) => retry_later(error.into(), wait)?,
        }
        if !self.stores.are_ready() {
            self.update_readiness();
        }
        Ok(())
    }

    /// A graceful end.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.stores.flush() {
            tracing::warn!(%error,
                "a global table was not flushed; the next start reads its last records again");
        }
    }

    /// Decides for each table from where to read it.
    fn start(&mut self) -> Result<(), AppError> {
        (0..self.topology.globals().len()).try_for_each(|table| self.start_table(table))
    }

    fn start_table(&mut self, table: usize) -> Result<(), AppError> {
        let mut starts = Vec::new();
        for one in self.partitions.iter().filter(|one| one.table == table) {
            let (begin, end) = self.reader.bounds(&one.partition, LOOK_UP_TIMEOUT)?;
            let stored = self.stores.position(table, one.partition.partition)?;
            starts.push(PartitionStart { stored, begin, end });
        }
        let stale = self.clock.now() - STALE_MS;
        let is_usable = starts.iter().all(|PartitionStart { stored, begin, end }| {
            stored.is_none_or(|stored| stored.is_usable(*begin..=*end, stale))
        });
        if !is_usable {
            // The topic was truncated, or deleted and created again, or its tombstones may have
            // been compacted away. Nothing tells which of the table's rows are still in it.
            let name = self.topology.globals()[table].name();
            tracing::warn!(table = %name,
                "the global table does not fit its topic; clearing it and reading it again");
            self.stores.clear(table)?;
        }
        let partitions = self.partitions.iter_mut().filter(|one| one.table == table);
        for (one, PartitionStart { stored, begin, end }) in partitions.zip(starts) {
            let stored = stored.filter(|_| is_usable);
            let position = stored.map_or(begin, |stored| stored.offset);
            self.reader.add(&one.partition, position)?;
            one.progress = Some(ReadProgress { position, target: end });
        }
        Ok(())
    }

    fn apply(
        &mut self,
        partition: &TopicPartition,
        batch: &dyn RecordBatch,
    ) -> Result<(), AppError> {
        let Some(last) = batch.len().checked_sub(1) else { return Ok(()) };
        let found = self.partitions.iter_mut().find(|one| one.partition == *partition);
        let Some(one) = found else { return Ok(()) };
        let source = &self.topology.globals()[one.table];
        let mut rows = BTreeMap::new();
        for index in 0..batch.len() {
            match source.row(partition.partition, &batch.record(index)) {
                Ok((key, value)) => drop(rows.insert(key, value)),
                Err(error) if *source.policy() == ErrorPolicy::Skip => {
                    tracing::warn!(table = %source.name(), %error,
                        "a record is not a row of the global table; skipped");
                    self.status.add_global_skipped(source.name());
                }
                Err(error) => {
                    let table = Arc::clone(source.name());
                    return Err(AppError::Global { table, error: Box::new(error) });
                }
            }
        }
        let offset = batch.record(last).offset + 1;
        let position = StoredPosition { offset, at: self.clock.now() };
        self.stores.apply(one.table, partition.partition, position, &rows)?;
        if let Some(progress) = &mut one.progress {
            progress.position = offset;
        }
        self.status.add_global_read(source.name(), batch.len() as u64);
        Ok(())
    }

    /// Lets tasks start once every partition has reached its target.
    fn update_readiness(&mut self) {
        for one in &mut self.partitions {
            let Some(progress) = &mut one.progress else { return };
            // The reader also passes what it does not deliver: markers, aborted records, compacted
            // ones.
            let read = self.reader.position(&one.partition).unwrap_or(progress.position);
            progress.position = progress.position.max(read);
            if progress.position < progress.target {
                return;
            }
        }
        for source in self.topology.globals() {
            self.status.set_global_state(source.name(), source.topic(), GlobalState::Following);
        }
        tracing::info!("global tables are up to date");
        self.stores.set_ready();
    }
}

impl StoredPosition {
    /// Whether reading may go on here in a topic with these bounds. A table from before `stale` may
    /// have missed tombstones that were compacted away, unless there was nothing to read.
    fn is_usable(&self, bounds: RangeInclusive<i64>, stale: Timestamp) -> bool {
        bounds.contains(&self.offset) && (self.at >= stale || self.offset == *bounds.end())
    }
}

/// Waits with an error that may pass by the next turn, and returns any other.
fn retry_later(error: AppError, wait: Duration) -> Result<(), AppError> {
    match &error {
        AppError::Transport(cause) if is_retriable(cause) => {
            tracing::debug!(%error, "global tables cannot be read at the moment; retrying");
            std::thread::sleep(wait);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Reading has no effect, so an unknown outcome is retriable too.
fn is_retriable(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Unknown)
}
