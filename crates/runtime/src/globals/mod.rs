//! Global tables: every instance keeps all rows of some topics, beside its tasks.
//!
//! They need no group and no transaction: their topics make them durable. A table's rows and the
//! positions up to which they were read are entries of one table of a store, so they are always as
//! of the same record.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the stores, where tasks look rows up |
//! | `reader.rs` | reads the topics: to their ends before the first task starts, then on and on |

mod reader;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streams_core::{
    Entries, Globals, Store, StoreBatch, StoreError, StoreProvider, TableBatch, Timestamp, Topology,
};

use crate::stores::open_or_rebuild;

pub(crate) use reader::GlobalReader;

/// The stores of all global tables of this instance.
pub(crate) struct GlobalStores {
    tables: Vec<GlobalStore>,
    /// Set once, when every table has reached its topic's end.
    is_ready: AtomicBool,
}

/// One global table. All workers share it, and lock it for each look-up.
struct GlobalStore(Mutex<Box<dyn Store>>);

/// How far a partition of a global table's topic was read.
#[derive(Clone, Copy)]
struct StoredPosition {
    /// The next offset to read.
    offset: i64,
    /// The wall-clock time at which it was stored.
    at: Timestamp,
}

/// First byte of the store keys of rows.
const ROW: u8 = 1;
/// First byte of the store keys of positions; the partition follows.
const POSITION: u8 = 0;

impl GlobalStores {
    pub(crate) fn open(
        topology: &Topology,
        stores: &dyn StoreProvider,
    ) -> Result<Self, StoreError> {
        let mut tables = Vec::new();
        for source in topology.globals() {
            let name = format!("global-{}", source.name());
            let store = open_or_rebuild(stores, &name, &[Arc::clone(source.name())])?;
            tables.push(GlobalStore(Mutex::new(store)));
        }
        let is_ready = AtomicBool::new(tables.is_empty());
        Ok(Self { tables, is_ready })
    }

    /// Whether tasks may start.
    pub(crate) fn are_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// How far a partition was read; `None` if nothing of it was.
    fn position(&self, table: usize, partition: i32) -> Result<Option<StoredPosition>, StoreError> {
        let mut value = Vec::new();
        let found = self.tables[table].lock().get(0, &position_key(partition), &mut value)?;
        let ([offset, at], []) = value.as_chunks::<8>() else { return Ok(None) };
        let position =
            StoredPosition { offset: i64::from_be_bytes(*offset), at: i64::from_be_bytes(*at) };
        Ok(found.then_some(position))
    }

    /// Applies rows of a partition (sorted, each key once) and, in the same batch, the position
    /// after them.
    fn apply(
        &self,
        table: usize,
        partition: i32,
        position: StoredPosition,
        rows: &BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    ) -> Result<(), StoreError> {
        let StoredPosition { offset, at } = position;
        let position = [offset.to_be_bytes(), at.to_be_bytes()].concat();
        // Entries are sorted by key, and the position's key is less than those of all rows.
        let mut entries = Entries::new();
        entries.push(&position_key(partition), Some(&position));
        entries.extend(rows.iter().map(|(key, value)| (row_key(key), value.as_ref())));
        let tables = vec![TableBatch { table: 0, entries, position: None }];
        self.tables[table].lock().apply(&StoreBatch { tables, at })
    }

    fn clear(&self, table: usize) -> Result<(), StoreError> {
        self.tables[table].lock().clear(0)
    }

    /// Makes everything durable; for a graceful stop.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.tables.iter().try_for_each(|table| table.lock().flush())
    }
}

impl GlobalStore {
    fn lock(&self) -> MutexGuard<'_, Box<dyn Store>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Globals for GlobalStores {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.tables[table].lock().get(0, &row_key(key), value)
    }
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(ROW);
    row.extend_from_slice(key);
    row
}

fn position_key(partition: i32) -> Box<[u8]> {
    let mut key = vec![POSITION];
    key.extend_from_slice(&partition.to_be_bytes());
    key.into()
}
