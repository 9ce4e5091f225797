//! The disk of a simulated instance: what was applied and not flushed may be gone after a crash,
//! of each table as much as chance wants.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use state::MemoryStore;
use streams_core::{
    Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName, Timestamp,
};

use crate::dice::Dice;
use crate::lock::lock;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    tasks: BTreeMap<String, Task>,
    /// The next write fails.
    failing: bool,
}

struct Task {
    names: Vec<TableName>,
    tables: Vec<Table>,
    /// How often it was opened: the last one has it.
    openings: u64,
}

/// A store of one table, as it is now and as it would be found after a crash.
struct Table {
    current: MemoryStore,
    durable: MemoryStore,
    /// What `current` has and `durable` has not, in order.
    pending: Vec<StoreBatch>,
}

impl Table {
    fn new() -> Self {
        let empty = MemoryStore::new(1);
        Self { current: empty.clone(), durable: empty, pending: Vec::new() }
    }

    fn apply(&mut self, part: &TableBatch, at: Timestamp) -> Result<(), StoreError> {
        let alone = StoreBatch { tables: vec![TableBatch { table: 0, ..part.clone() }], at };
        self.current.apply(&alone)?;
        self.pending.push(alone);
        Ok(())
    }

    /// The first `count` batches reach the disk.
    fn persist(&mut self, count: usize) -> Result<(), StoreError> {
        self.pending.drain(..count).try_for_each(|batch| self.durable.apply(&batch))
    }

    fn crash(&mut self, dice: &mut Dice) {
        let kept = dice.below(self.pending.len() + 1);
        self.persist(kept).expect("memory does not fail");
        self.pending.clear();
        self.current = self.durable.clone();
    }

    fn image(&self) -> Result<Image, StoreError> {
        let mut entries = BTreeMap::new();
        self.current.scan(0, &[], None, &mut |key, value| {
            entries.insert(key.into(), Some(value.into()));
            ControlFlow::Continue(())
        })?;
        Ok(Image { entries, position: self.current.position(0)? })
    }
}

/// A table at some moment.
pub(super) struct Image {
    /// Each is `Some`: the shape is that of a replay.
    pub(super) entries: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    pub(super) position: Option<i64>,
}

impl SimDisk {
    /// The process that used it died.
    pub(super) fn crash(&self, dice: &mut Dice) {
        let mut disk = lock(&self.0);
        let tables = disk.tasks.values_mut().flat_map(|task| &mut task.tables);
        tables.for_each(|table| table.crash(dice));
    }

    /// The next write fails, as on a full disk.
    pub(super) fn fail_next(&self) {
        lock(&self.0).failing = true;
    }

    /// It works again.
    pub(super) fn heal(&self) {
        lock(&self.0).failing = false;
    }

    /// What it holds, by task and table.
    pub(super) fn images(&self) -> Result<Vec<(String, TableName, Image)>, StoreError> {
        let disk = lock(&self.0);
        let mut images = Vec::new();
        for (name, task) in &disk.tasks {
            for (table, kept) in task.names.iter().zip(&task.tables) {
                images.push((name.clone(), Arc::clone(table), kept.image()?));
            }
        }
        Ok(images)
    }
}

impl StoreProvider for SimDisk {
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError> {
        let mut disk = lock(&self.0);
        let kept = disk.tasks.entry(task.to_owned()).or_insert_with(|| Task {
            names: tables.to_vec(),
            tables: tables.iter().map(|_| Table::new()).collect(),
            openings: 0,
        });
        kept.openings += 1;
        let opening = kept.openings;
        Ok(Box::new(SimStore { disk: self.clone(), task: task.to_owned(), opening }))
    }

    fn destroy(&self, task: &str) -> Result<(), StoreError> {
        lock(&self.0).tasks.remove(task);
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct SimStore {
    disk: SimDisk,
    task: String,
    opening: u64,
}

impl SimStore {
    fn with<T>(
        &self,
        table: usize,
        work: impl FnOnce(&mut Table) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut disk = lock(&self.disk.0);
        let task = disk.tasks.get_mut(&self.task).filter(|task| task.openings == self.opening);
        let table = task.and_then(|task| task.tables.get_mut(table));
        work(table.ok_or_else(|| self.failed("it was opened again by somebody else"))?)
    }

    fn failed(&self, cause: &str) -> StoreError {
        StoreError::Io { task: self.task.clone(), cause: cause.to_owned() }
    }
}

impl Store for SimStore {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.with(table, |table| table.current.get(0, key, value))
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.with(table, |table| table.current.scan(0, from, to, visit))
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        self.with(table, |table| table.current.position(0))
    }

    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError> {
        self.with(table, |table| table.current.as_of(0))
    }

    /// As if it were slow to ask; too few for all that a workload has.
    fn cache_bytes(&self) -> usize {
        2_000
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if std::mem::take(&mut lock(&self.disk.0).failing) {
            return Err(self.failed("no space left on the disk, as the seed has it"));
        }
        let mut parts = batch.tables.iter();
        parts.try_for_each(|part| self.with(part.table, |table| table.apply(part, batch.at)))
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        self.with(table, |table| {
            *table = Table::new();
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut disk = lock(&self.disk.0);
        let task = disk.tasks.get_mut(&self.task).filter(|task| task.openings == self.opening);
        let mut tables = task.into_iter().flat_map(|task| &mut task.tables);
        tables.try_for_each(|table| table.persist(table.pending.len()))
    }
}
