//! Stores that outlive their instance, as on a disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use state::MemoryStores;
use streams_core::{
    Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName, Timestamp,
};

use crate::lock::lock;

/// Tables in memory that survive their instance, as on a disk. Clones share them.
///
/// As after a kill -9, the store is at the last applied batch. A store that an earlier instance
/// still holds returns errors.
#[derive(Clone, Default)]
pub struct SurvivingStores(Arc<Mutex<BTreeMap<String, SharedStore>>>);

type SharedStore = Arc<Mutex<SurvivingTables>>;

struct SurvivingTables {
    store: Box<dyn Store>,
    /// How often it was opened. Only the last opening may use it.
    openings: u64,
    /// How much older than its real age it claims to be, in milliseconds.
    aged_ms: i64,
}

impl SurvivingStores {
    /// No tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes all tables older, as if the disk had not been used for that long.
    pub fn age(&self, by: Duration) {
        for kept in lock(&self.0).values() {
            lock(kept).aged_ms += by.as_millis() as i64;
        }
    }
}

impl StoreProvider for SurvivingStores {
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError> {
        let mut all = lock(&self.0);
        if !all.contains_key(task) {
            let store = MemoryStores::new().open(task, tables)?;
            all.insert(
                task.to_owned(),
                Arc::new(Mutex::new(SurvivingTables { store, openings: 0, aged_ms: 0 })),
            );
        }
        let kept = Arc::clone(&all[task]);
        let opening = {
            let mut kept = lock(&kept);
            kept.openings += 1;
            kept.openings
        };
        Ok(Box::new(SurvivingStore { task: task.to_owned(), kept, opening }))
    }

    fn destroy(&self, task: &str) -> Result<(), StoreError> {
        lock(&self.0).remove(task);
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct SurvivingStore {
    task: String,
    kept: SharedStore,
    opening: u64,
}

impl SurvivingStore {
    fn kept(&self) -> Result<MutexGuard<'_, SurvivingTables>, StoreError> {
        let kept = lock(&self.kept);
        if kept.openings == self.opening {
            return Ok(kept);
        }
        let cause = "another instance has opened it since".to_owned();
        Err(StoreError::Io { task: self.task.clone(), cause })
    }
}

impl Store for SurvivingStore {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.kept()?.store.get(table, key, value)
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.kept()?.store.scan(table, from, to, visit)
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        self.kept()?.store.position(table)
    }

    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError> {
        let kept = self.kept()?;
        Ok(kept.store.as_of(table)?.map(|at| at - kept.aged_ms))
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.kept()?.store.apply(batch)
    }

    fn load(&mut self, change: TableBatch, at: Timestamp) -> Result<(), StoreError> {
        self.kept()?.store.load(change, at)
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        self.kept()?.store.clear(table)
    }

    fn cache_bytes(&self) -> usize {
        self.kept().map_or(0, |kept| kept.store.cache_bytes())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.kept()?.store.flush()
    }
}
