//! Tables in memory: for tests, for small state, and for a first try without building RocksDB. Only
//! the changelog survives the process.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use streams_core::{Store, StoreBatch, StoreError, StoreProvider, TableName, Timestamp};

/// Opens [`MemoryStore`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStores;

impl MemoryStores {
    /// A provider of stores in memory.
    pub fn new() -> Self {
        Self
    }
}

impl StoreProvider for MemoryStores {
    fn open(&self, _task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(MemoryStore::new(tables.len())))
    }

    fn destroy(&self, _task: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// A task's tables in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Vec<MemoryTable>,
}

#[derive(Clone, Debug, Default)]
struct MemoryTable {
    entries: BTreeMap<Box<[u8]>, Box<[u8]>>,
    position: Option<i64>,
    as_of: Option<Timestamp>,
}

impl MemoryTable {
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            self.entries.remove(key);
            return;
        };
        match self.entries.get_mut(key) {
            Some(kept) if kept.len() == value.len() => kept.copy_from_slice(value),
            _ => drop(self.entries.insert(key.into(), value.into())),
        }
    }
}

impl MemoryStore {
    /// Creates this many empty tables.
    pub fn new(tables: usize) -> Self {
        Self { tables: vec![MemoryTable::default(); tables] }
    }
}

impl Store for MemoryStore {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let found = self.tables.get(table).and_then(|table| table.entries.get(key));
        value.extend_from_slice(found.map_or(&[], |found| found));
        Ok(found.is_some())
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // BTreeMap::range panics on a reversed range, which is an empty range for a store.
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let entries = self.tables.get(table).map(|table| table.entries.range::<[u8], _>(bounds));
        for (key, value) in entries.into_iter().flatten() {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.tables.get(table).and_then(|table| table.position))
    }

    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.tables.get(table).and_then(|table| table.as_of))
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        for change in &batch.tables {
            let Some(table) = self.tables.get_mut(change.table) else { continue };
            for (key, value) in change.entries.iter() {
                table.put(key, value);
            }
            if change.position.is_some() {
                table.position = change.position;
                table.as_of = Some(batch.at);
            }
        }
        Ok(())
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        if let Some(table) = self.tables.get_mut(table) {
            *table = MemoryTable::default();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
