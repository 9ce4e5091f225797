//! What a task asks of the place where its tables are kept: committed state only, in bytes.

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
    /// Copies the value of `key` into `value` (cleared first) and tells whether there is one.
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

    /// The changelog offset that the table has been brought up to: the next one to read. `None`:
    /// nothing was ever applied, restore begins at the changelog's beginning.
    fn position(&self, table: usize) -> Result<Option<i64>, StoreError>;

    /// When the table was last brought up to its position: the [`at`](StoreBatch::at) of the batch
    /// that did it, and `None` before the first one.
    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError>;

    /// Applies all of `batch`, entries and positions, or nothing. For the entries and the position
    /// of one table that also holds across a crash; different tables may come back at different
    /// commits, each with its own position.
    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError>;

    /// Brings a table forward by many entries of its changelog, at `at`. As [`apply`](Self::apply),
    /// which it is by default; a store may have a cheaper way for much at once.
    fn load(&mut self, change: TableBatch, at: Timestamp) -> Result<(), StoreError> {
        self.apply(&StoreBatch { tables: vec![change], at })
    }

    /// Forgets a table's entries and position, so that it is rebuilt from its changelog.
    fn clear(&mut self, table: usize) -> Result<(), StoreError>;

    /// Bytes worth spending on values that were read or written lately, so that they need not be
    /// asked for here: 0, the default, for a store that is as quick by itself. Asked again from
    /// time to time.
    fn cache_bytes(&self) -> usize {
        0
    }

    /// Makes what was applied durable now. A graceful close calls it; the memory store does
    /// nothing.
    fn flush(&mut self) -> Result<(), StoreError>;
}

/// Net changes of some tables together with the changelog positions that they lead to.
#[derive(Debug, Default)]
pub struct StoreBatch {
    /// One entry for each table touched.
    pub tables: Vec<TableBatch>,
    /// Wall-clock time, in milliseconds since the Unix epoch; kept with each position.
    pub at: Timestamp,
}

/// The part of a [`StoreBatch`] that concerns one table.
#[derive(Clone, Debug, Default)]
pub struct TableBatch {
    /// The table's number.
    pub table: usize,
    /// Keys with their new values, `None` deletes; sorted by key, each key once.
    pub entries: Entries,
    /// The changelog position after these changes; `None` leaves it as it is.
    pub position: Option<i64>,
}

/// Opens the store of a task; the seam where RocksDB, memory or something else is chosen.
pub trait StoreProvider: Send + Sync {
    /// Opens (or creates) the tables called `tables` of the task called `task`, a name that is
    /// stable across restarts and safe as a file name. A store that was open before under the
    /// same name must have been dropped.
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError>;

    /// Removes what is kept of the task called `task`, which is not open: it is rebuilt from its
    /// changelogs. Called only after [`StoreError::Corrupt`], and for a store that was left alone
    /// for so long that its changelogs may no longer tell what was deleted meanwhile.
    fn destroy(&self, task: &str) -> Result<(), StoreError>;

    /// Whether stores survive the process. If not, every start restores from the changelog's
    /// beginning.
    fn is_durable(&self) -> bool;

    /// Bytes of memory that all its stores take, as far as it keeps count; 0 by default.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// The name under which a table's data is kept.
pub type TableName = std::sync::Arc<str>;

crate::debug_is_display!(StoreError);

/// A store failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data on disk is provably damaged (a checksum failed). The table is rebuilt from its
    /// changelog.
    #[error("the store of {task} is corrupt: {cause}")]
    Corrupt {
        /// The task.
        task: String,
        /// What the store said.
        cause: String,
    },
    /// Reading or writing failed for another reason (disk full, permission, …). Nothing is wiped
    /// for it.
    #[error("the store of {task} failed: {cause}")]
    Io {
        /// The task.
        task: String,
        /// What the store said.
        cause: String,
    },
}
