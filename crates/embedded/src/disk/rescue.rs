//! Copying a log: one of an earlier version, or the intact part of a damaged one. The copy is a new
//! database beside the old one, which is not changed.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, ConcurrencyMode, ReadTransaction, ReadableDatabase, StorageBackend};

use super::directory::{DiskOptions, FILE, file_storage, give_up, open_database};
use super::guard::guarded;
use super::layout::{self, Linked, LogFormat, corrupt};
use super::ledger::Sum;
use super::mark::MarkContent;
use super::recovery::{DatabaseKind, initialise, kind};
use super::seal::{LogId, Seal};
use super::segment_chain::open_segment;
use super::snapshot::{Loaded, Snapshot};
use super::{Disk, RedbResult, SEGMENTS, WriteBatch};
use crate::damage::LeftOut;
use crate::partition::{PartitionId, Segment};
use crate::state::LogState;
use crate::unflushed::UnflushedChanges;

/// The copy's file until it replaces the log.
pub(super) const NEW_FILE: &str = "log.redb.new";

/// How many bytes one commit copies.
const STEP_BYTES: usize = 4 << 20;

/// Where redb's header has its flags.
const FLAGS: u64 = 9;
/// The flag that selects one of the header's two commits. The other flags ask redb to recover from
/// a crash, which needs every page to be intact.
const PRIMARY: u8 = 1;

/// Copies a log of version 1, which must be intact.
pub(super) fn upgrade(directory: &Path, log: LogId) -> RedbResult<()> {
    let storage = file_storage(&directory.join(FILE))?;
    let database = open_database(&storage, true)?;
    let copied = guarded(|| {
        let snapshot = Snapshot::new(database.begin_read()?, LogFormat::One);
        let mut loaded = snapshot.load(false)?;
        let mut copy = LogCopy::begin(directory, &log, 0)?;
        snapshot.walk(&loaded, false, |id, segment| copy.put(id, segment))?;
        copy.finish(&mut loaded.state)
    });
    give_up(database, &storage, copied.as_ref().err().unwrap_or(&redb::Error::DatabaseClosed));
    copied
}

/// Copies the intact part of a damaged log; returns its id and what was left out.
pub(super) fn rescue(
    directory: &Path,
    said: Option<MarkContent>,
) -> RedbResult<(LogId, Vec<LeftOut>)> {
    read_wreck(directory, said, true)
}

/// Only finds out what the copy would leave out.
pub(super) fn survey(directory: &Path, said: Option<MarkContent>) -> RedbResult<Vec<LeftOut>> {
    Ok(read_wreck(directory, said, false)?.1)
}

fn read_wreck(
    directory: &Path,
    said: Option<MarkContent>,
    copies: bool,
) -> RedbResult<(LogId, Vec<LeftOut>)> {
    let mut result = Err(corrupt("nothing of it can be read"));
    // Fall back to the commit before the last one.
    for flipped in [0, PRIMARY] {
        result = guarded(|| read_commit(directory, said, flipped, copies));
        if result.is_ok() {
            break;
        }
    }
    result
}

fn read_commit(
    directory: &Path,
    said: Option<MarkContent>,
    flipped: u8,
    copies: bool,
) -> RedbResult<(LogId, Vec<LeftOut>)> {
    let wreck = DamagedFile::open(&directory.join(FILE), flipped)?;
    let mut builder = redb::Builder::new();
    // Without a cache every read goes through [`DamagedFile`], which counts the bytes. In read-only
    // mode redb reads the file as another process left it.
    builder.set_cache_size(0).set_concurrency_mode(ConcurrencyMode::SingleWriter);
    let database = builder.open_read_only_with_backend(wreck)?;
    let DatabaseKind::Log(LogFormat::Two(log)) = kind(&database)? else {
        return Err(corrupt("this is not a log with checksums"));
    };
    let snapshot = Snapshot::new(database.begin_read()?, LogFormat::Two(log));
    let mut loaded = snapshot.load(true)?;
    let mut left_out = Vec::new();
    match said {
        None => left_out.push(LeftOut::Mark),
        Some(said) if said.log != log => return Err(corrupt("the mark is of another log")),
        Some(said) if said.commits > loaded.ledger.commits => {
            left_out.push(LeftOut::Commits(said.commits - loaded.ledger.commits));
        }
        Some(_) => {}
    }
    if loaded.offsets_lost > 0 {
        left_out.push(LeftOut::Offsets(loaded.offsets_lost));
    }
    let commits = loaded.ledger.commits.max(said.map_or(0, |said| said.commits));
    let mut copy = match copies {
        true => LogCopy::begin(directory, &log, commits)?,
        false => LogCopy::default(),
    };
    for id in 0..loaded.rows.len() as PartitionId {
        let read = database.begin_read()?;
        Remains { read, loaded: &loaded, log, id }.copy(&mut copy, &mut left_out)?;
    }
    // Each gap is at least one missing row.
    let places = left_out.iter().filter(|what| matches!(what, LeftOut::Records { .. })).count();
    let expected = loaded.ledger.sum(SEGMENTS);
    let is_possible = match places as u64 {
        0 => copy.found == expected,
        places => copy.found.rows.saturating_add(places) <= expected.rows,
    };
    if !is_possible {
        return Err(corrupt(REPLAYED));
    }
    copy.finish(&mut loaded.state)?;
    Ok((log, left_out))
}

/// This cannot be left out: nothing tells which records are the right ones.
const REPLAYED: &str = "it has records that were later deleted or replaced";

/// A partition that may have lost records.
struct Remains<'a> {
    read: ReadTransaction,
    loaded: &'a Loaded,
    log: LogId,
    id: PartitionId,
}

impl Remains<'_> {
    /// Copies the intact segments, and notes where records are missing.
    fn copy(&self, copy: &mut LogCopy, left_out: &mut Vec<LeftOut>) -> RedbResult<()> {
        let row = self.loaded.rows[self.id as usize];
        let name = &self.loaded.state.partition(self.id).name;
        let seal = Seal::of(&self.log);
        let format = LogFormat::Two(self.log);
        let mut reached = row.start;
        let mut copied = 0;
        let mut lost = |from: i64, to: i64| {
            left_out.push(LeftOut::Records { partition: name.clone(), from, to });
        };
        let mut take = |key: &[u8], value: &[u8]| {
            let Ok(linked) = open_segment(seal, format, self.id, name, key, value) else {
                return Ok(());
            };
            let Linked { segment, after } = linked;
            if segment.last() >= row.end {
                return Ok(());
            }
            if copied > 0 && (segment.base < copied || after < copied) {
                return Err(corrupt(format!("{name}: {REPLAYED}")));
            }
            copy.found.add(value)?;
            if after > reached {
                lost(reached, segment.base);
            }
            copied = segment.last() + 1;
            reached = reached.max(copied);
            copy.put(self.id, segment)
        };
        if let Some(stopped_at) = self.forward(&mut take)? {
            let table = self.read.open_table(SEGMENTS)?;
            for key in self.backward(stopped_at)? {
                // The keys found backward are read one by one, not through the damaged tree.
                let found = guarded(|| Ok(table.get(&key[..])?));
                if let Ok(Some(value)) = found {
                    take(&key, value.value())?;
                }
            }
        }
        if reached < row.segments_end {
            lost(reached, row.segments_end);
        }
        Ok(())
    }

    /// Passes the segments to `take`. If they cannot be read to the end, returns the offset after
    /// the last one read.
    fn forward(
        &self,
        take: &mut dyn FnMut(&[u8], &[u8]) -> RedbResult<()>,
    ) -> RedbResult<Option<i64>> {
        let from = layout::place(self.id, 0);
        let to = layout::place(self.id, i64::MAX);
        let mut reached = 0;
        let table = self.read.open_table(SEGMENTS)?;
        let Ok(mut rows) = guarded(|| Ok(table.range(&from[..]..=&to[..])?)) else {
            return Ok(Some(reached));
        };
        loop {
            let row = guarded(|| match rows.next() {
                Some(row) => row
                    .map(|(key, value)| Some((key.value().to_vec(), value.value().to_vec())))
                    .map_err(Into::into),
                None => Ok(None),
            });
            match row {
                Ok(Some((key, value))) => {
                    take(&key, &value)?;
                    reached = layout::read_place(&key).map_or(reached, |(_, base)| base + 1);
                }
                Ok(None) => return Ok(None),
                Err(_) => {
                    std::mem::forget(rows);
                    return Ok(Some(reached));
                }
            }
        }
    }

    /// The keys of the segments from the end down to `until`, or to where they cannot be read, in
    /// ascending order.
    fn backward(&self, until: i64) -> RedbResult<Vec<Vec<u8>>> {
        let from = layout::place(self.id, until);
        let to = layout::place(self.id, i64::MAX);
        let table = self.read.open_table(SEGMENTS)?;
        let mut keys = Vec::new();
        let Ok(mut rows) = guarded(|| Ok(table.range(&from[..]..=&to[..])?)) else {
            return Ok(keys);
        };
        loop {
            let row = guarded(|| match rows.next_back() {
                Some(row) => row.map(|(key, _)| Some(key.value().to_vec())).map_err(Into::into),
                None => Ok(None),
            });
            match row {
                Ok(Some(key)) => keys.push(key),
                Ok(None) => break,
                Err(_) => {
                    std::mem::forget(rows);
                    break;
                }
            }
        }
        keys.reverse();
        Ok(keys)
    }
}

/// A new log being written. The default has no database: it only checks what is put into it.
#[derive(Default)]
struct LogCopy {
    disk: Option<Disk>,
    waiting: Vec<(PartitionId, Segment)>,
    bytes: usize,
    /// The sum of the copied segments' rows, as the old log had them.
    found: Sum,
}

impl LogCopy {
    fn begin(directory: &Path, log: &LogId, commits: u64) -> RedbResult<Self> {
        let path = directory.join(NEW_FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let storage = file_storage(&path)?;
        let database = open_database(&storage, false)?;
        initialise(&database, log)?;
        let opening = DiskOptions { cache_bytes: 0, verify: true, skip: false };
        let place = path.display().to_string();
        let disk = Disk::new(database, storage, None, place, LogFormat::Two(*log), 0, opening);
        let ledger = Snapshot::new(disk.with(|d| Ok(d.begin_read()?))?, LogFormat::Two(*log));
        let mut ledger = ledger.load(false)?.ledger;
        ledger.commits = ledger.commits.max(commits);
        disk.lock().ledger = ledger;
        Ok(Self { disk: Some(disk), waiting: Vec::new(), bytes: 0, found: Sum::default() })
    }

    fn put(&mut self, id: PartitionId, segment: Segment) -> RedbResult<()> {
        self.bytes += segment.chunk.weight();
        self.waiting.push((id, segment));
        if self.bytes > STEP_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> RedbResult<()> {
        self.bytes = 0;
        let segments = std::mem::take(&mut self.waiting);
        let Some(disk) = &self.disk else { return Ok(()) };
        disk.commit(&mut disk.lock(), 0, |transaction, ledger| {
            ledger.append(transaction, segments.iter())
        })
    }

    /// Writes the small tables, and closes the copy.
    fn finish(mut self, state: &mut LogState) -> RedbResult<()> {
        self.flush()?;
        let Some(disk) = self.disk else { return Ok(()) };
        state.unflushed = Some(everything(state));
        let batch: WriteBatch = disk.take_batch(state);
        disk.write_batch(&mut disk.lock(), &batch)
    }
}

/// Everything in the small tables, as changes to write.
fn everything(state: &LogState) -> UnflushedChanges {
    let mut all = UnflushedChanges::default();
    for topic in state.topics.values() {
        all.topic(&topic.name, &topic.partitions);
    }
    for (id, partition) in (0..).zip(&state.partitions) {
        all.aborted.extend(partition.aborted.iter().map(|aborted| (id, aborted)));
    }
    state.transactional.keys().for_each(|name| all.transactional(name));
    for group in state.groups.values() {
        for (partition, committed) in group.offsets.iter() {
            all.offset(&group.name, partition, committed.clone());
        }
    }
    all
}

/// The file of a damaged database: read as if it had been closed properly, and never written.
#[derive(Debug)]
struct DamagedFile {
    file: FileBackend,
    flipped: u8,
    /// How many bytes may still be read. A damaged tree may contain a cycle.
    left: AtomicU64,
}

impl DamagedFile {
    fn open(path: &Path, flipped: u8) -> RedbResult<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len().saturating_mul(32);
        Ok(Self { file: FileBackend::new(file)?, flipped, left: AtomicU64::new(left) })
    }
}

impl StorageBackend for DamagedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let len = out.len() as u64;
        let relaxed = Ordering::Relaxed;
        let take = |left: u64| left.checked_sub(len);
        if self.left.fetch_update(relaxed, relaxed, take).is_err() {
            return Err(io::Error::other("its pages form a cycle"));
        }
        self.file.read(offset, out)?;
        let flags = FLAGS.checked_sub(offset).and_then(|at| out.get_mut(at as usize));
        if let Some(flags) = flags {
            *flags = (*flags ^ self.flipped) & PRIMARY;
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    // The mark's lock keeps other processes out.

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}
