//! What a task requires of the store of its tables: committed state only, in bytes.

mod entries;
mod key_order;

use std::ops::ControlFlow;

use crate::record::Timestamp;

pub use entries::Entries;
pub(crate) use key_order::order as key_order;

/// The tables of one task, as they were at some commit.
///
/// A store never sees uncommitted writes: those live in the task's overlay. Tables are numbered
/// from 0 in the order in which the store was opened; keys of a table are ordered as bytes.
pub trait Store: Send {
    /// Copies the value of `key` into `value`, which is cleared first. Returns whether there is
    /// one.
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError>;

    /// Visits the entries with `from <= key` and, if `to` is given, `key < to`, in key order, until
    /// told to stop.
    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Returns the changelog offset up to which the table has been restored: the next one to read.
    /// With `None`, nothing was ever applied, and the restore begins at the start of the changelog.
    fn position(&self, table: usize) -> Result<Option<i64>, StoreError>;

    /// Returns when the table was last brought to its position: the [`at`](StoreBatch::at) of that
    /// batch. `None` before the first one.
    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError>;

    /// Applies all of `batch`, entries and positions, or nothing. For one table's entries and
    /// position this holds across a crash too. Different tables may come back at different commits,
    /// each with its own position.
    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError>;

    /// Applies many entries of a table's changelog, at the time `at`. The default calls
    /// [`apply`](Self::apply); a store may have a faster way for large amounts.
    fn load(&mut self, change: TableBatch, at: Timestamp) -> Result<(), StoreError> {
        self.apply(&StoreBatch { tables: vec![change], at })
    }

    /// Removes a table's entries and position, so that it is restored from its changelog.
    fn clear(&mut self, table: usize) -> Result<(), StoreError>;

    /// Returns how many bytes a cache of recently used values in front of this store should have.
    /// The default is 0, for a store that is as fast as a cache. It is called again from time to
    /// time.
    fn cache_bytes(&self) -> usize {
        0
    }

    /// Makes what was applied durable now. A graceful close calls it. The memory store does
    /// nothing.
    fn flush(&mut self) -> Result<(), StoreError>;
}

/// Net changes of some tables, with the changelog positions that they lead to.
#[derive(Debug, Default)]
pub struct StoreBatch {
    /// One entry for each table touched.
    pub tables: Vec<TableBatch>,
    /// Wall-clock time in milliseconds since the Unix epoch, which is stored with each position.
    pub at: Timestamp,
}

/// The part of a [`StoreBatch`] that concerns one table.
#[derive(Clone, Debug, Default)]
pub struct TableBatch {
    /// The table's number.
    pub table: usize,
    /// Keys with their new values, where `None` deletes. Sorted, and each key appears once.
    pub entries: Entries,
    /// The changelog position after these changes; `None` leaves it as it is.
    pub position: Option<i64>,
}

/// Opens the stores of tasks: the interface at which RocksDB, memory or another store is chosen.
pub trait StoreProvider: Send + Sync {
    /// Opens (or creates) the tables `tables` of the task `task`. That name is stable across
    /// restarts and safe as a file name. A store opened earlier under the same name must have been
    /// dropped.
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError>;

    /// Removes the data of the task `task`, which is not open; it is then restored from its
    /// changelogs. Called only after [`StoreError::Corrupt`], and for a store that was unused for
    /// so long that its changelogs may no longer have the tombstones it missed.
    fn destroy(&self, task: &str) -> Result<(), StoreError>;

    /// Whether stores survive the process. If not, every start restores from the beginning of the
    /// changelog.
    fn is_durable(&self) -> bool;

    /// Returns how much memory its stores use, as far as it is known. Default: 0.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// The name under which a table's data is stored.
pub type TableName = std::sync::Arc<str>;

crate::debug_is_display!(StoreError);

/// A store failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data on disk is damaged: a checksum failed. The table is restored from its changelog.
    #[error("the store of {task} is corrupt: {cause}")]
    Corrupt {
        /// The task.
        task: String,
        /// What the store reported.
        cause: String,
    },
    /// Reading or writing failed for another reason (disk full, permission, …). No data is deleted.
    #[error("the store of {task} failed: {cause}")]
    Io {
        /// The task.
        task: String,
        /// What the store reported.
        cause: String,
    },
}
