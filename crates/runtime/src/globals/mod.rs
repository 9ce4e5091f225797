//! Global tables: every instance keeps all rows of some topics, beside its tasks.
//!
//! No group and no transaction is involved: the topics themselves are what makes the tables
//! durable. A table's rows and the positions up to which they were read are entries of one table
//! of a store, so that they can never disagree.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the rows, as tasks look them up |
//! | `reader.rs` | reads the topics: whole before the first task starts, then on and on |

mod reader;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streams_core::{
    Entries, Globals, Store, StoreBatch, StoreError, StoreProvider, TableBatch, Timestamp, Topology,
};

use crate::restore::open_or_rebuild;
pub(crate) use reader::GlobalReader;

/// The rows of all global tables of this instance.
pub(crate) struct GlobalStores {
    tables: Vec<GlobalStore>,
    /// Set once, when every table has been brought up to its topic's end.
    ready: AtomicBool,
}

/// One global table. What is shared by all workers is locked for each look-up.
struct GlobalStore(Mutex<Box<dyn Store>>);

/// How far a partition of a global table's topic was read, and when.
#[derive(Clone, Copy)]
struct Place {
    /// The next offset.
    position: i64,
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
            let (name, table) = (format!("global-{}", source.name()), Arc::clone(source.name()));
            let store = open_or_rebuild(stores, &name, &[table])?;
            tables.push(GlobalStore(Mutex::new(store)));
        }
        let ready = AtomicBool::new(tables.is_empty());
        Ok(Self { tables, ready })
    }

    /// Whether tasks may start.
    pub(crate) fn are_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Where reading of a partition stands; `None` if nothing was read yet.
    fn place(&self, table: usize, partition: i32) -> Result<Option<Place>, StoreError> {
        let mut value = Vec::new();
        let found = self.tables[table].lock().get(0, &position_key(partition), &mut value)?;
        let ([position, at], []) = value.as_chunks::<8>() else { return Ok(None) };
        let (position, at) = (i64::from_be_bytes(*position), i64::from_be_bytes(*at));
        Ok(found.then_some(Place { position, at }))
    }

    /// Applies rows (sorted, each key once) of a partition with the position behind them, at the
    /// wall-clock time `at`.
    fn apply(
        &self,
        table: usize,
        partition: i32,
        position: i64,
        rows: &BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let position = [position.to_be_bytes(), at.to_be_bytes()].concat();
        // The position's key is less than those of all rows.
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
