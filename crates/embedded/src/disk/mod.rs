//! The log on disk: a redb database, written with one transaction for all commits that come
//! together.
//!
//! redb keeps the promise that a transaction is on disk as a whole, or not at all, whenever the
//! process or the power ends; what is here only decides what goes into one, and in which bytes
//! ([`layout`]).

mod compaction;
mod layout;
mod recovery;

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use redb::{
    Database, DatabaseError, ReadableDatabase, StorageBackend, Table, TableDefinition,
    WriteTransaction,
};
use runtime::transport::Result;

use crate::aborted::Aborted;
use crate::cursor::DiskRange;
use crate::error::{fatal, refused};
use crate::lock::lock;
use crate::maintain::{ExpiryRange, is_expired};
use crate::partition::{PartitionId, Segment};
use crate::state::State;
use crate::transaction::Ending;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Bytes<'t> = Table<'t, &'static [u8], &'static [u8]>;
type RedbResult<T> = std::result::Result<T, redb::Error>;

const META: Definition = TableDefinition::new("meta");
const TOPICS: Definition = TableDefinition::new("topics");
const PARTITIONS: Definition = TableDefinition::new("partitions");
const SEGMENTS: Definition = TableDefinition::new("segments");
const ABORTED: Definition = TableDefinition::new("aborted");
const TRANSACTIONAL: Definition = TableDefinition::new("transactional");
const OFFSETS: Definition = TableDefinition::new("offsets");

/// redb's page cache. Ours holds what is read most, the end of the log.
const PAGE_CACHE_BYTES: usize = 32 << 20;

/// The file in the log's directory.
const FILE: &str = "log.redb";

/// A database that holds a log.
#[derive(Debug)]
pub(crate) struct Disk {
    database: Database,
    writer: Mutex<Writer>,
    place: String,
}

/// Whoever has it may write.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// How many of the state's changes are on disk.
    pub(crate) written: u64,
}

/// A consistent set of changes on its way to disk.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) changes: u64,
    /// Small things, encoded already.
    rows: Vec<(Definition, Vec<u8>, Vec<u8>)>,
    segments: Vec<(PartitionId, Segment)>,
    trims: Vec<(PartitionId, i64)>,
    /// Up to where partitions may be shown once this is on disk.
    ends: Vec<(PartitionId, i64)>,
    endings: Vec<Ending>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Disk {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let place = directory.display().to_string();
        let context = || format!("open the embedded log in {place}");
        fs::create_dir_all(directory).map_err(|e| fatal(context(), e.to_string()))?;
        let mut builder = redb::Builder::new();
        builder.set_cache_size(PAGE_CACHE_BYTES);
        let database = builder.create(directory.join(FILE)).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => refused(
                context(),
                "it is open already, in this or another process; one at a time can have it",
            ),
            error => fatal(context(), error.to_string()),
        })?;
        Ok(Self { database, writer: Mutex::default(), place })
    }

    pub(crate) fn open_on(storage: impl StorageBackend) -> Result<Self> {
        let place = "a given storage".to_owned();
        let mut builder = redb::Builder::new();
        builder.set_cache_size(PAGE_CACHE_BYTES);
        let opened = builder.create_with_backend(storage);
        let database = opened.map_err(|e| fatal("open the embedded log", e.to_string()))?;
        Ok(Self { database, writer: Mutex::default(), place })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Takes all that is not on disk yet, as it is now.
    pub(crate) fn take_batch(&self, state: &mut State) -> Batch {
        let Some(dirty) = state.dirty.as_mut().map(|dirty| dirty.take()) else {
            return Batch::default();
        };
        let mut batch = Batch { changes: dirty.changes, ..Batch::default() };
        batch.rows.push((META, layout::NEXT_PRODUCER.into(), layout::number(state.producers)));
        for name in &dirty.topics {
            if let Some(topic) = state.topics.get(name) {
                batch.rows.push((TOPICS, layout::text(name), layout::topic(topic)));
            }
        }
        for id in dirty.partitions {
            let partition = state.partition(id);
            batch.rows.push((PARTITIONS, layout::id(id), layout::partition(partition)));
            batch.ends.push((id, partition.end));
        }
        for (id, aborted) in dirty.aborted {
            let key = layout::place(id, aborted.marker);
            batch.rows.push((ABORTED, key, layout::aborted(&aborted)));
        }
        for name in &dirty.transactional {
            if let Some(holder) = state.transactional.get(name) {
                let row = layout::transactional(holder);
                batch.rows.push((TRANSACTIONAL, layout::text(name), row));
            }
        }
        for ((group, partition), committed) in dirty.offsets {
            let key = layout::offset_key(&group, &partition);
            batch.rows.push((OFFSETS, key, layout::committed(&committed)));
        }
        batch.segments = dirty.segments;
        batch.trims = dirty.trims.into_iter().collect();
        batch.endings = std::mem::take(&mut state.endings);
        batch
    }

    /// Writes a batch and waits until it is on disk.
    pub(crate) fn write(&self, batch: &Batch) -> RedbResult<()> {
        let transaction = self.database.begin_write()?;
        for (table, key, value) in &batch.rows {
            transaction.open_table(*table)?.insert(&key[..], &value[..])?;
        }
        put_segments(&transaction, batch.segments.iter())?;
        for (id, start) in &batch.trims {
            trim(&transaction, *id, *start)?;
        }
        Ok(transaction.commit()?)
    }

    /// Reads segments for a cursor, at least one if there is one, and tells up to where the range
    /// has been read.
    pub(crate) fn read(&self, range: &DiskRange) -> Result<(Vec<Segment>, i64)> {
        self.read_segments(range)
            .map_err(|e| fatal(format!("read the embedded log in {self}"), e.to_string()))
    }

    fn read_segments(&self, range: &DiskRange) -> RedbResult<(Vec<Segment>, i64)> {
        let table = self.database.begin_read()?.open_table(SEGMENTS)?;
        let first = layout::place(range.id, range.from);
        // The segment that contains the offset begins at or before it.
        let before = table.range(&layout::place(range.id, 0)[..]..=&first[..])?.next_back();
        let begin = match before {
            Some(row) => row?.0.value().to_vec(),
            None => first,
        };
        let (mut segments, mut bytes) = (Vec::new(), 0);
        for row in table.range(&begin[..]..&layout::place(range.id, range.to)[..])? {
            let (key, value) = row?;
            let segment = layout::read_segment(key.value(), value.value())?;
            let is_aborted = range.aborted.cover(&segment);
            if segment.last() < range.from || is_aborted {
                continue;
            }
            if bytes > range.bytes_max {
                return Ok((segments, segment.base));
            }
            bytes += segment.chunk.weight();
            segments.push(segment);
        }
        Ok((segments, range.to))
    }

    /// Where the first segment in the range begins that has not expired, if there is one.
    pub(crate) fn first_kept(&self, range: &ExpiryRange) -> Result<Option<i64>> {
        self.find_first_kept(range)
            .map_err(|e| fatal(format!("expire records of the log in {self}"), e.to_string()))
    }

    fn find_first_kept(&self, range: &ExpiryRange) -> RedbResult<Option<i64>> {
        let table = self.database.begin_read()?.open_table(SEGMENTS)?;
        let (from, to) = (layout::place(range.id, 0), layout::place(range.id, range.to));
        let mut last = None;
        for row in table.range(&from[..]..&to[..])? {
            let (key, value) = row?;
            let segment = layout::read_segment(key.value(), value.value())?;
            if segment.last() < range.from {
                continue;
            }
            if segment.last() >= range.to || !is_expired(&segment.chunk, range.before) {
                return Ok(Some(segment.base.max(range.from)));
            }
            last = Some(segment.base);
        }
        Ok(last.filter(|_| range.keep_last))
    }
}

impl Batch {
    /// It is on disk: readers may see it.
    pub(crate) fn show(self, state: &mut State) {
        for (id, end) in self.ends {
            let partition = state.partition_mut(id);
            partition.visible = partition.visible.max(end);
        }
        state.complete(self.endings);
    }
}

fn put_segments<'a>(
    transaction: &WriteTransaction,
    segments: impl Iterator<Item = &'a (PartitionId, Segment)>,
) -> RedbResult<()> {
    let mut table = transaction.open_table(SEGMENTS)?;
    let mut value = Vec::new();
    for (id, segment) in segments {
        layout::segment(segment, &mut value);
        table.insert(&layout::place(*id, segment.base)[..], &value[..])?;
    }
    Ok(())
}

/// Deletes segments and aborted ranges that end below `start`.
fn trim(transaction: &WriteTransaction, id: PartitionId, start: i64) -> RedbResult<()> {
    let (from, to) = (layout::place(id, 0), layout::place(id, start));
    let mut segments: Bytes<'_> = transaction.open_table(SEGMENTS)?;
    segments.retain_in(&from[..]..&to[..], |key, value| {
        layout::last_offset(key, value).is_none_or(|last| last >= start)
    })?;
    let mut aborted: Bytes<'_> = transaction.open_table(ABORTED)?;
    Ok(aborted.retain_in(&from[..]..&to[..], |_, _| false)?)
}

/// Aborted ranges are kept by their markers.
fn read_aborted(key: &[u8], value: &[u8]) -> RedbResult<(PartitionId, Aborted)> {
    layout::read_aborted(key, value).ok_or_else(|| layout::corrupt("an aborted range"))
}
