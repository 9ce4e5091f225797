//! Many entries at once: past the write buffers, in a table file that the database takes over.
//!
//! That is about half the work of writing them into a buffer, flushing the buffer, and sorting what
//! was flushed in. They are durable at once.

use std::io::ErrorKind;
use std::path::Path;

use rocksdb::{Error, IngestExternalFileOptions, SstFileWriter, properties};
use streams_core::{StoreError, TableBatch, Timestamp};

use super::store::{POSITION, RocksStore, entry_key, place};

/// Less than this many bytes of entries are not worth a file of their own.
const BYTES_MIN: usize = 1 << 20;

/// The file that is being written, in the database's folder; its name is none of RocksDB's.
const FILE: &str = "loaded.part";

/// With so many files that are not sorted into the others a table gets no further one: each look-up
/// goes through them, their filters are in memory, and nothing makes loads wait for compactions.
/// Write buffers are larger, and do wait.
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

    /// Entries and position, all or nothing.
    pub(super) fn add_file(&self, change: &TableBatch, at: Timestamp) -> Result<(), StoreError> {
        let path = self.database.path().join(FILE);
        // One that a crash left behind may be a table's too, by a second name: to write into it
        // would be to write into the table.
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
