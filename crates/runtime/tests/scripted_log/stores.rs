//! Stores that survive an application and note their calls in the script.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use state::MemoryStore;
use streams_core::{
    Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName, Timestamp,
};

use super::script::Script;

/// The contents of an instance's disk.
#[derive(Clone)]
pub(crate) struct ScriptedStores {
    script: Script,
    stores: Arc<Mutex<BTreeMap<String, MemoryStore>>>,
}

impl ScriptedStores {
    pub(crate) fn new(script: &Script) -> Self {
        Self { script: script.clone(), stores: Arc::default() }
    }

    /// The position of the first table of a store.
    pub(crate) fn position(&self, store: &str) -> Option<i64> {
        self.stores.lock().unwrap().get(store)?.position(0).unwrap()
    }
}

impl StoreProvider for ScriptedStores {
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError> {
        let opened = self.script.lock().request(format!("open store {task}"));
        opened.map_err(|error| StoreError::Corrupt {
            task: task.to_owned(),
            cause: error.to_string(),
        })?;
        let new = || MemoryStore::new(tables.len());
        self.stores.lock().unwrap().entry(task.to_owned()).or_insert_with(new);
        Ok(Box::new(ScriptedStore { disk: self.clone(), name: task.to_owned() }))
    }

    fn destroy(&self, task: &str) -> Result<(), StoreError> {
        let _ = self.script.lock().request(format!("delete store {task}"));
        self.stores.lock().unwrap().remove(task);
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// The store of a task, while it is open.
struct ScriptedStore {
    disk: ScriptedStores,
    name: String,
}

/// The store on the disk.
struct OnDisk<'a> {
    stores: MutexGuard<'a, BTreeMap<String, MemoryStore>>,
    name: &'a str,
}

impl OnDisk<'_> {
    fn store(&mut self) -> &mut MemoryStore {
        self.stores.get_mut(self.name).unwrap()
    }
}

impl ScriptedStore {
    fn on_disk(&self) -> OnDisk<'_> {
        OnDisk { stores: self.disk.stores.lock().unwrap(), name: &self.name }
    }

    /// Notes that a batch was applied, and the changelog offset that it reaches.
    fn tell(&self, what: &str, batch: &TableBatch) {
        let position = batch.position.map_or_else(|| "none".to_owned(), |at| at.to_string());
        let request = format!("{what} table {} up to {position}", batch.table);
        let _ = self.disk.script.lock().request(request);
    }
}

impl Store for ScriptedStore {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.on_disk().store().get(table, key, value)
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.on_disk().store().scan(table, from, to, visit)
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        self.on_disk().store().position(table)
    }

    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError> {
        self.on_disk().store().as_of(table)
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        batch.tables.iter().for_each(|table| self.tell("apply", table));
        self.on_disk().store().apply(batch)
    }

    fn load(&mut self, change: TableBatch, at: Timestamp) -> Result<(), StoreError> {
        self.tell("load", &change);
        self.on_disk().store().load(change, at)
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        self.on_disk().store().clear(table)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.on_disk().store().flush()
    }
}
