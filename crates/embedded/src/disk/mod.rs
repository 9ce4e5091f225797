//! The log on disk: a redb database. Commits that arrive together share one redb transaction.
//!
//! redb guarantees that a transaction is on disk as a whole or not at all, whenever the process or
//! the power fails. This module only decides what goes into one, and [`layout`] its bytes.

mod compaction;
mod directory;
mod guard;
mod layout;
mod ledger;
mod mark;
mod recovery;
mod rescue;
mod seal;
mod segment_chain;
mod snapshot;

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock};

use redb::{Database, ReadableDatabase, Table, TableDefinition, WriteTransaction};
use runtime::transport::{Result, TransportError};

use crate::cursor::DiskRange;
use crate::damage::LeftOut;
use crate::error::fatal;
use crate::lock::lock;
use crate::maintenance::{ExpiryRange, is_expired};
use crate::partition::{PartitionId, Segment};
use crate::state::LogState;
use crate::transaction::Ending;

use guard::{Storage, discard, guarded};
use layout::{LogFormat, PartitionRow};
use ledger::Ledger;
use mark::MarkFile;
use seal::Seal;
use segment_chain::{SegmentChain, open_segment, partition_row};

pub(crate) use directory::DiskOptions;

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

/// What a user can do about a damaged log.
const ADVICE: &str = "restore the directory from a backup, or open it without the damaged part: \
                      LogOptions::damaged(Damaged::Skip), embedded:DIRECTORY?damaged=skip";

/// A database that holds a log.
#[derive(Debug)]
pub(crate) struct Disk {
    /// `None` only during `drop`.
    database: Option<Database>,
    storage: Storage,
    mark: Option<MarkFile>,
    writer: Mutex<DiskWriter>,
    place: String,
    format: LogFormat,
    opening: DiskOptions,
    left_out: Vec<LeftOut>,
    /// Set once the database has failed: nothing is read or written after that.
    broken: OnceLock<String>,
}

/// The lock for writing.
#[derive(Debug)]
pub(crate) struct DiskWriter {
    /// How many of the state's changes are on disk.
    pub(crate) written: u64,
    /// The approximate size of the database in bytes; deletions are not subtracted.
    bytes: u64,
    ledger: Ledger,
}

/// A consistent set of changes on its way to disk.
#[derive(Default)]
pub(crate) struct WriteBatch {
    pub(crate) changes: u64,
    /// The next producer id.
    producers: i64,
    /// Encoded rows of the small tables.
    rows: Vec<(Definition, Vec<u8>, Vec<u8>)>,
    partitions: Vec<(PartitionId, PartitionRow)>,
    segments: Vec<(PartitionId, Segment)>,
    trims: Vec<(PartitionId, i64)>,
    endings: Vec<Ending>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let Some(database) = self.database.take() else { return };
        if let Some(error) = self.broken.get() {
            // Its state may be wrong, so nothing of it may be written.
            self.storage.sever();
            discard(database, &redb::Error::Corrupted(error.clone()));
            return;
        }
        let closed = guarded(|| Ok(database.close()?));
        let noted = self.mark.as_ref().map_or(Ok(()), MarkFile::sync);
        if let Err(error) = closed.and(noted.map_err(Into::into)) {
            tracing::warn!(%error, place = %self.place, "closing the embedded log failed");
        }
    }
}

impl Disk {
    /// What was damaged and left out when the log was opened.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Runs `work` on the database, unless it failed earlier. After a failure the database is not
    /// used again: its state may be wrong.
    fn with<T>(&self, work: impl FnOnce(&Database) -> RedbResult<T>) -> RedbResult<T> {
        if let Some(cause) = self.broken.get() {
            return Err(redb::Error::Corrupted(cause.clone()));
        }
        let database = self.database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        guarded(|| work(database)).inspect_err(|error| self.stop(error))
    }

    fn stop(&self, error: &redb::Error) {
        let text = match error {
            redb::Error::Corrupted(text) => text.clone(),
            error => error.to_string(),
        };
        if self.broken.set(text).is_ok() {
            self.storage.sever();
        }
    }

    /// An error of this log for its users.
    fn error(&self, doing: &str, error: &redb::Error) -> TransportError {
        fatal(format!("{doing} the embedded log in {self}"), cause(error))
    }

    /// Commits what `work` writes, about `bytes` in size.
    ///
    /// A log that is verified when it is opened is read as a whole after a crash anyway. For one
    /// that is not, a big database is written with its allocator's state and a second sync per
    /// commit (about a quarter slower), so that it opens in milliseconds.
    fn commit<T>(
        &self,
        writer: &mut DiskWriter,
        bytes: usize,
        work: impl FnOnce(&WriteTransaction, &mut Ledger) -> RedbResult<T>,
    ) -> RedbResult<T> {
        writer.bytes = writer.bytes.saturating_add(bytes as u64);
        let is_big = writer.bytes > self.opening.cache_bytes as u64;
        let is_quick = is_big && !self.opening.verify;
        let ledger = &mut writer.ledger;
        let mut transaction = self.with(|database| Ok(database.begin_write()?))?;
        transaction.set_quick_repair(is_quick);
        let done = self.with(|_| {
            let done = work(&transaction, ledger)?;
            ledger.close(&transaction)?;
            Ok(done)
        });
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                discard(transaction, &error);
                return Err(error);
            }
        };
        self.with(move |_| {
            transaction.commit()?;
            Ok(self.mark.as_ref().map_or(Ok(()), |mark| mark.note(ledger.commits))?)
        })?;
        Ok(done)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, DiskWriter> {
        lock(&self.writer)
    }

    /// Takes everything that is not on disk yet, as of now.
    pub(crate) fn take_batch(&self, state: &mut LogState) -> WriteBatch {
        let Some(unflushed) = state.unflushed.as_mut().map(|unflushed| unflushed.take()) else {
            return WriteBatch::default();
        };
        let producers = state.producers;
        let mut batch =
            WriteBatch { changes: unflushed.changes, producers, ..WriteBatch::default() };
        for name in &unflushed.topics {
            if let Some(topic) = state.topics.get(name) {
                batch.rows.push((TOPICS, layout::text(name), layout::topic(topic)));
            }
        }
        for id in unflushed.partitions {
            let partition = state.partition(id);
            batch.partitions.push((id, PartitionRow::of(partition)));
        }
        for (id, aborted) in unflushed.aborted {
            let key = layout::place(id, aborted.marker);
            batch.rows.push((ABORTED, key, layout::aborted(&aborted)));
        }
        for name in &unflushed.transactional {
            if let Some(holder) = state.transactional.get(name) {
                let row = layout::transactional(holder);
                batch.rows.push((TRANSACTIONAL, layout::text(name), row));
            }
        }
        for ((group, partition), committed) in unflushed.offsets {
            let key = layout::offset_key(&group, &partition);
            batch.rows.push((OFFSETS, key, layout::committed(&committed)));
        }
        batch.segments = unflushed.segments;
        batch.trims = unflushed.trims.into_iter().collect();
        batch.endings = std::mem::take(&mut state.endings);
        batch
    }

    /// Writes a batch and waits until it is on disk.
    pub(crate) fn write(&self, writer: &mut DiskWriter, batch: &WriteBatch) -> Result<()> {
        self.write_batch(writer, batch).map_err(|error| self.error("write", &error))
    }

    fn write_batch(&self, writer: &mut DiskWriter, batch: &WriteBatch) -> RedbResult<()> {
        let bytes = batch.segments.iter().map(|(_, segment)| segment.chunk.weight()).sum();
        self.commit(writer, bytes, |transaction, ledger| {
            ledger.producers = batch.producers;
            for (table, key, value) in &batch.rows {
                ledger.put(transaction, *table, key, value.clone())?;
            }
            ledger.append(transaction, batch.segments.iter())?;
            for (id, row) in &batch.partitions {
                let row = PartitionRow { segments_end: *ledger.end_mut(*id), ..*row };
                let key = layout::id(*id);
                let value = layout::partition(&row);
                ledger.put(transaction, PARTITIONS, &key, value)?;
            }
            for (id, start) in &batch.trims {
                ledger.trim(transaction, *id, *start)?;
                ledger.forget_aborted(transaction, *id, *start)?;
            }
            Ok(())
        })?;
        writer.written = batch.changes;
        Ok(())
    }

    /// Reads segments for a cursor, at least one if there is one; also returns the end of what was
    /// read.
    pub(crate) fn read(&self, range: &DiskRange) -> Result<(Vec<Segment>, i64)> {
        self.with(|database| self.read_segments(database, range))
            .map_err(|error| self.error("read", &error))
    }

    fn seal(&self) -> Seal {
        match self.format {
            LogFormat::One => Seal::of(&[0; 16]),
            LogFormat::Two(log) => Seal::of(&log),
        }
    }

    fn read_segments(
        &self,
        database: &Database,
        range: &DiskRange,
    ) -> RedbResult<(Vec<Segment>, i64)> {
        let read = database.begin_read()?;
        let seal = self.seal();
        let name = &range.name;
        let row = partition_row(&read, seal, range.id)?;
        let table = read.open_table(SEGMENTS)?;
        let first = layout::place(range.id, range.from);
        // The segment that contains the offset begins at or before it.
        let before = table.range(&layout::place(range.id, 0)[..]..=&first[..])?.next_back();
        let (begin, mut chain) = match before {
            Some(before) => (before?.0.value().to_vec(), SegmentChain::from_any(name, row)),
            None => (first, SegmentChain::from_first(name, row)),
        };
        let mut segments = Vec::new();
        let mut bytes = 0;
        for row in table.range(&begin[..]..=&layout::place(range.id, i64::MAX)[..])? {
            let (key, value) = row?;
            let linked =
                open_segment(seal, self.format, range.id, name, key.value(), value.value())?;
            let segment = chain.follow(linked)?;
            if segment.base >= range.to {
                return Ok((segments, range.to));
            }
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
        chain.finish()?;
        Ok((segments, range.to))
    }

    /// The base offset of the first segment in the range that has not expired.
    pub(crate) fn first_kept(&self, range: &ExpiryRange) -> Result<Option<i64>> {
        self.with(|database| self.find_first_kept(database, range))
            .map_err(|error| self.error("expire records of", &error))
    }

    fn find_first_kept(&self, database: &Database, range: &ExpiryRange) -> RedbResult<Option<i64>> {
        let read = database.begin_read()?;
        let seal = self.seal();
        let name = &range.name;
        let mut chain = SegmentChain::from_first(name, partition_row(&read, seal, range.id)?);
        let table = read.open_table(SEGMENTS)?;
        let from = layout::place(range.id, 0);
        let to = layout::place(range.id, range.to);
        let mut last = None;
        for row in table.range(&from[..]..&to[..])? {
            let (key, value) = row?;
            let linked =
                open_segment(seal, self.format, range.id, name, key.value(), value.value())?;
            let segment = chain.follow(linked)?;
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

impl WriteBatch {
    /// Its records are on disk: readers may see them.
    pub(crate) fn show(self, state: &mut LogState) {
        for (id, row) in self.partitions {
            let partition = state.partition_mut(id);
            partition.visible = partition.visible.max(row.end);
        }
        state.complete(self.endings);
    }
}

/// The cause; for a damaged log also what to do.
fn cause(error: &redb::Error) -> String {
    match error {
        redb::Error::Corrupted(what) => format!("it is damaged: {what}; {ADVICE}"),
        error => error.to_string(),
    }
}
