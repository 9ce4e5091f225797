//! Tables in RocksDB.
//!
//! Each task has a database, and each of its tables a column family, which holds the entries and
//! their changelog position. One batch writes both to one column family, so a crash leaves a
//! consistent state. RocksDB's write-ahead log is off, because the changelog is the log: what a
//! crash takes from a table is restored from it. To bound that, tables are flushed to disk
//! periodically, in the background. Restores ingest whole table files.

mod budget;
mod load;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rocksdb::{ColumnFamilyDescriptor, DB, ErrorKind};
use streams_core::{Store, StoreError, StoreProvider, TableName};

use budget::MemoryBudget;
use store::RocksStore;

/// Options for tables in RocksDB.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// The memory of all databases of the process, in bytes: block caches, write buffers, and
    /// cached values. Default: 128 MiB.
    pub memory_max: usize,
    /// A table is flushed once this many entries were written since its last flush. After a crash,
    /// about as many changelog records at most are read again. Default: 500,000, a second's work.
    pub flush_after_entries: u64,
    /// A changed table is flushed after this time at the latest. Default: 30 s.
    pub flush_after: Duration,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            memory_max: 128 << 20,
            flush_after_entries: 500_000,
            flush_after: Duration::from_secs(30),
        }
    }
}

/// Opens [`Store`]s in RocksDB, all under one memory budget.
pub struct RocksStores {
    directory: PathBuf,
    options: RocksOptions,
    budget: MemoryBudget,
}

impl RocksStores {
    /// Creates stores below `directory`, one folder per task.
    pub fn open(directory: impl Into<PathBuf>, options: RocksOptions) -> Result<Self, StoreError> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory).map_err(|error| StoreError::Io {
            task: directory.display().to_string(),
            cause: error.to_string(),
        })?;
        let budget = MemoryBudget::new(options.memory_max)
            .map_err(|error| failed(&directory.display().to_string(), &error))?;
        Ok(Self { directory, options, budget })
    }

    fn database(&self, task: &str, tables: &[TableName]) -> Result<DB, StoreError> {
        let path = self.directory.join(task);
        let failed = |error| failed(task, &error);
        let mut options = self.budget.database_options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // RocksDB opens all existing column families or none.
        let mut families: BTreeMap<String, bool> = BTreeMap::new();
        if path.join("CURRENT").exists() {
            let known = DB::list_cf(&options, &path).map_err(failed)?;
            families.extend(known.into_iter().map(|name| (name, false)));
        }
        families.extend(tables.iter().map(|table| (table.to_string(), true)));
        for (name, _) in families.iter().filter(|(name, used)| !**used && *name != "default") {
            tracing::warn!(
                task,
                table = name,
                "the store holds a table that the topology no longer uses"
            );
        }
        let descriptors = families
            .into_keys()
            .map(|name| ColumnFamilyDescriptor::new(name, self.budget.table_options()));
        DB::open_cf_descriptors(&options, &path, descriptors).map_err(failed)
    }
}

impl StoreProvider for RocksStores {
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError> {
        let database = self.database(task, tables)?;
        let table_options = self.budget.table_options();
        let limits = &self.options;
        let share = self.budget.share();
        let store = RocksStore::new(task, database, tables, limits, table_options, share);
        Ok(Box::new(store))
    }

    fn destroy(&self, task: &str) -> Result<(), StoreError> {
        let path = self.directory.join(task);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { task: task.to_owned(), cause: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn memory_bytes(&self) -> usize {
        self.budget.used()
    }
}

/// Only what RocksDB reports as corruption is corruption: a full disk must not wipe a table.
fn failed(task: &str, error: &rocksdb::Error) -> StoreError {
    let task = task.to_owned();
    let cause = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt { task, cause },
        _ => StoreError::Io { task, cause },
    }
}

#[cfg(test)]
mod tests {
    use streams_core::{StoreBatch, TableBatch};

    use super::*;

    fn batch(entries: &[(&[u8], Option<&[u8]>)], position: i64) -> StoreBatch {
        let entries = entries.iter().copied().collect();
        let at = 1000 + position;
        StoreBatch { tables: vec![TableBatch { table: 0, entries, position: Some(position) }], at }
    }

    #[test]
    fn entries_and_position_come_back_after_a_close() {
        let directory = tempfile::tempdir().expect("a directory");
        let stores = RocksStores::open(directory.path(), RocksOptions::default()).expect("opens");
        let tables = ["counts".into()];
        {
            let mut store = stores.open("orders-0", &tables).expect("opens");
            assert_eq!(store.position(0).expect("reads"), None);
            store.apply(&batch(&[(b"", Some(b"empty")), (b"a", Some(b"1"))], 7)).expect("applies");
            store.apply(&batch(&[(b"a", None), (b"b", Some(b""))], 9)).expect("applies");
            store.flush().expect("flushes");
        }
        let store = stores.open("orders-0", &tables).expect("opens");
        assert_eq!(store.position(0).expect("reads"), Some(9));
        assert_eq!(store.as_of(0).expect("reads"), Some(1009), "when it was brought there");
        let mut seen = Vec::new();
        store
            .scan(0, &[], None, &mut |key, value| {
                seen.push((key.to_vec(), value.to_vec()));
                std::ops::ControlFlow::Continue(())
            })
            .expect("scans");
        assert_eq!(seen, [(vec![], b"empty".to_vec()), (b"b".to_vec(), vec![])]);
    }
}
