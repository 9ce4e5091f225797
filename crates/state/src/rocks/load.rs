//! Bulk loads: a table file that the database ingests, bypassing the write buffers.
//!
//! That is about half the work of writing entries into a buffer, flushing it and compacting the
//! result. The entries are durable at once.

use std::io::ErrorKind;
use std::path::Path;

use rocksdb::{Error, IngestExternalFileOptions, SstFileWriter, properties};
use streams_core::{StoreError, TableBatch, Timestamp};

use super::store::{POSITION, RocksStore, entry_key, place};

/// Fewer bytes of entries than this are not worth a file.
const BYTES_MIN: usize = 1 << 20;

/// The file being written, in the database's folder. RocksDB uses no such name.
const FILE: &str = "loaded.part";

/// A table with this many level-0 files gets no further one by a load. Each look-up searches all of
/// them, their filters take memory, and RocksDB does not stall ingestion for compactions as it
/// stalls writes.
const FILES_MAX: u64 = 12;

impl RocksStore {
    pub(super) fn is_worth_a_file(&self, change: &TableBatch) -> Result<bool, StoreError> {
        if change.entries.bytes() < BYTES_MIN {
            return Ok(false);
        }
        let name = properties::num_files_at_level(0);
        let files = self.database.property_int_value_cf(self.family(change.table)?, &name);
        Ok(files.map_err(|error| self.failed(error))?.is_none_or(|files| files < FILES_MAX))
    }

    /// Loads entries and position atomically.
    pub(super) fn add_file(&self, change: &TableBatch, at: Timestamp) -> Result<(), StoreError> {
        let path = self.database.path().join(FILE);
        // A file left by a crash may be hard-linked as a table file. Writing into it would write
        // into the table.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let cause = format!("{}: {error}", path.display());
                return Err(StoreError::Io { task: self.task.clone(), cause });
            }
            _ => {}
        }
        self.write(change, at, &path).map_err(|error| self.failed(error))?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let family = self.family(change.table)?;
        let added = self.database.ingest_external_file_cf_opts(family, &options, vec![path]);
        added.map_err(|error| self.failed(error))
    }

    fn write(&self, change: &TableBatch, at: Timestamp, path: &Path) -> Result<(), Error> {
        let mut file = SstFileWriter::create(&self.table_options);
        file.open(path)?;
        if let Some(position) = change.position {
            file.put(POSITION, place(position, at))?;
        }
        let mut key = self.key.borrow_mut();
        for (entry, value) in change.entries.iter() {
            entry_key(entry, &mut key);
            match value {
                Some(value) => file.put(&*key, value)?,
                None => file.delete(&*key)?,
            }
        }
        file.finish()
    }
}
