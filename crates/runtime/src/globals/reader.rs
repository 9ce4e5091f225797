//! Reads the topics of global tables.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{ErrorPolicy, RecordBatch, Timestamp, TopicPartition, Topology};

use super::{GlobalStores, Place};
use crate::clock::Clock;
use crate::error::AppError;
use crate::restore::STALE_MS;
use crate::status::{GlobalState, StatusHandle};
use crate::topics::TopicMetadata;
use crate::transport::{ErrorKind, Fetched, Reader, TransportError};

/// Records taken from the log at a time.
const RECORDS_MAX: usize = 10_000;
/// How long a look-up of a partition's bounds may take; others may be waiting.
const LOOK_UP: Duration = Duration::from_millis(500);

/// Brings global tables up to date, and keeps them so.
pub(crate) struct GlobalReader {
    topology: Arc<Topology>,
    rows: Arc<GlobalStores>,
    reader: Box<dyn Reader>,
    clock: Arc<dyn Clock>,
    partitions: Vec<GlobalPartition>,
    status: StatusHandle,
}

/// A partition of a global table's topic.
struct GlobalPartition {
    table: usize,
    partition: TopicPartition,
    /// Where reading stands, and the end that it must reach before tasks start; not known yet at
    /// the beginning.
    place: Option<(i64, i64)>,
}

impl GlobalReader {
    pub(crate) fn new(
        topology: &Arc<Topology>,
        layout: &TopicMetadata,
        rows: Arc<GlobalStores>,
        (reader, clock): (Box<dyn Reader>, Arc<dyn Clock>),
        status: StatusHandle,
    ) -> Self {
        let mut partitions = Vec::new();
        for (table, source) in topology.globals().iter().enumerate() {
            status.set_global_state(source.name(), source.topic(), GlobalState::Restoring);
            for partition in 0..layout.partitions(source.topic()).unwrap_or(0) {
                let partition = TopicPartition::new(Arc::clone(source.topic()), partition);
                partitions.push(GlobalPartition { table, partition, place: None });
            }
        }
        Self { topology: Arc::clone(topology), rows, reader, clock, partitions, status }
    }

    /// Reads what has come. Waits at most `wait` for something.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), AppError> {
        if self.partitions.iter().any(|one| one.place.is_none()) {
            let started = self.start();
            return started.or_else(|error| later(error, wait));
        }
        match self.reader.poll(wait, RECORDS_MAX) {
            Ok(fetched) => {
                for Fetched { partition, batch } in fetched {
                    self.apply(&partition, &*batch)?;
                }
            }
            Err(error) => later(error.into(), wait)?,
        }
        if !self.rows.are_ready() {
            self.update_readiness();
        }
        Ok(())
    }

    /// A graceful end.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.rows.flush() {
            tracing::warn!(%error, "a global table was not flushed; its tail will be read again");
        }
    }

    /// Decides for each table from where to read it.
    fn start(&mut self) -> Result<(), AppError> {
        for table in 0..self.topology.globals().len() {
            let mut places = Vec::new();
            for one in self.partitions.iter().filter(|one| one.table == table) {
                let (begin, end) = self.reader.bounds(&one.partition, LOOK_UP)?;
                let place = self.rows.place(table, one.partition.partition)?;
                places.push((place, begin, end));
            }
            let stale = self.clock.now() - STALE_MS;
            let fit = places.iter().all(|(place, begin, end)| {
                place.is_none_or(|place| place.fits(*begin..=*end, stale))
            });
            if !fit {
                // The topic was truncated, or deleted and made anew, or its tombstones may have
                // been compacted away: which rows are still in it cannot be told.
                let name = self.topology.globals()[table].name();
                tracing::warn!(table = %name,
                    "the global table does not fit its topic: it is cleared and read again");
                self.rows.clear(table)?;
            }
            let followed = self.partitions.iter_mut().filter(|one| one.table == table);
            for (one, (place, begin, end)) in followed.zip(places) {
                let from = place.filter(|_| fit).map_or(begin, |place| place.position);
                self.reader.add(&one.partition, from)?;
                one.place = Some((from, end));
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        partition: &TopicPartition,
        batch: &dyn RecordBatch,
    ) -> Result<(), AppError> {
        let followed = self.partitions.iter_mut().find(|one| one.partition == *partition);
        let (Some(one), Some(last)) = (followed, batch.len().checked_sub(1)) else { return Ok(()) };
        let source = &self.topology.globals()[one.table];
        let mut rows = BTreeMap::new();
        for index in 0..batch.len() {
            match source.row(partition.partition, &batch.record(index)) {
                Ok((key, value)) => drop(rows.insert(key, value)),
                Err(error) if *source.policy() == ErrorPolicy::Skip => {
                    tracing::warn!(table = %source.name(), %error, "a record is no row: skipped");
                    self.status.add_global_skipped(source.name());
                }
                Err(error) => {
                    let (table, error) = (source.name().clone(), Box::new(error));
                    return Err(AppError::Global { table, error });
                }
            }
        }
        let position = batch.record(last).offset + 1;
        self.rows.apply(one.table, partition.partition, position, &rows, self.clock.now())?;
        if let Some((read, _)) = &mut one.place {
            *read = position;
        }
        self.status.add_global_read(source.name(), batch.len() as u64);
        Ok(())
    }

    fn update_readiness(&mut self) {
        for one in &mut self.partitions {
            let Some((read, end)) = &mut one.place else { return };
            // It also passes what it does not deliver: markers, aborted and compacted records.
            *read = self.reader.position(&one.partition).unwrap_or(*read).max(*read);
            if read < end {
                return;
            }
        }
        for source in self.topology.globals() {
            self.status.set_global_state(source.name(), source.topic(), GlobalState::Following);
        }
        tracing::info!("global tables are up to date");
        self.rows.set_ready();
    }
}

impl Place {
    /// Whether reading may go on here in a topic with these bounds; `stale` is the time before
    /// which a table is too old to miss anything.
    fn fits(&self, bounds: RangeInclusive<i64>, stale: Timestamp) -> bool {
        bounds.contains(&self.position) && (self.at >= stale || self.position == *bounds.end())
    }
}

/// What may work later is tried again at the next turn.
fn later(error: AppError, wait: Duration) -> Result<(), AppError> {
    let AppError::Transport(cause) = &error else { return Err(error) };
    if !is_retriable(cause) {
        return Err(error);
    }
    tracing::debug!(%error, "global tables cannot be read at the moment");
    std::thread::sleep(wait);
    Ok(())
}

fn is_retriable(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Unknown)
}
