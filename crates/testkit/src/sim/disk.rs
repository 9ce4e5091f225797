//! The disk of a simulated instance. After a crash a random part of each table's unflushed batches
//! is lost; a store may be damaged, or everything lost.

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
pub(super) struct SimDisk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    tasks: BTreeMap<String, TaskOnDisk>,
    /// Called before every step; it may let time pass.
    decide: Option<Decide>,
}

/// Allows a step of the disk, or says why it fails.
type Decide = Arc<dyn Fn(DiskStep) -> Result<(), String> + Send + Sync>;

/// An operation of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskStep {
    Open,
    Apply,
    Flush,
    Clear,
}

/// What a crash did to a disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CrashDamage {
    /// Some applied batches are lost.
    pub(super) lost: bool,
    /// Some tables of a task kept more of what was applied than others.
    pub(super) torn: bool,
}

struct TaskOnDisk {
    is_damaged: bool,
    names: Vec<TableName>,
    tables: Vec<TableOnDisk>,
    /// How often it was opened. Only the last opening may use it.
    openings: u64,
}

/// A table as it is now, and as it would be after a crash.
struct TableOnDisk {
    current: MemoryStore,
    durable: MemoryStore,
    /// The batches that are in `current` and not in `durable`, in order.
    pending: Vec<StoreBatch>,
}

impl TableOnDisk {
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

    /// How many batches are lost.
    fn crash(&mut self, dice: &mut Dice) -> usize {
        let kept = dice.below(self.pending.len() + 1);
        let lost = self.pending.len() - kept;
        self.persist(kept).expect("memory does not fail");
        self.pending.clear();
        self.current = self.durable.clone();
        lost
    }

    fn image(&self) -> Result<TableImage, StoreError> {
        let mut entries = BTreeMap::new();
        self.current.scan(0, &[], None, &mut |key, value| {
            entries.insert(key.into(), Some(value.into()));
            ControlFlow::Continue(())
        })?;
        Ok(TableImage { entries, position: self.current.position(0)? })
    }
}

/// A table at one moment.
pub(super) struct TableImage {
    /// Each value is `Some`, because the shape is that of a replay.
    pub(super) entries: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    pub(super) position: Option<i64>,
}

impl SimDisk {
    /// Asks `decide` before every step from now on.
    pub(super) fn decided_by(
        &self,
        decide: impl Fn(DiskStep) -> Result<(), String> + Send + Sync + 'static,
    ) {
        lock(&self.0).decide = Some(Arc::new(decide));
    }

    /// The process that used it died.
    pub(super) fn crash(&self, dice: &mut Dice) -> CrashDamage {
        let mut disk = lock(&self.0);
        let mut damage = CrashDamage::default();
        for task in disk.tasks.values_mut() {
            let lost = task.tables.iter_mut().map(|table| table.crash(dice));
            let lost: Vec<_> = lost.collect();
            damage.lost |= lost.iter().any(|lost| *lost > 0);
            damage.torn |= lost.iter().any(|other| *other != lost[0]);
        }
        damage
    }

    /// Damages some store, which the next opening will find; `None` if there is none.
    pub(super) fn damage(&self, dice: &mut Dice) -> Option<String> {
        let mut disk = lock(&self.0);
        let index = dice.below(disk.tasks.len());
        let (name, task) = disk.tasks.iter_mut().nth(index)?;
        task.is_damaged = true;
        Some(name.clone())
    }

    /// Loses everything.
    pub(super) fn lose(&self) {
        lock(&self.0).tasks.clear();
    }

    /// No lock is held meanwhile.
    fn step(&self, task: &str, step: DiskStep) -> Result<(), StoreError> {
        let decide = lock(&self.0).decide.clone();
        let decided = decide.map_or(Ok(()), |decide| decide(step));
        decided.map_err(|cause| StoreError::Io { task: task.to_owned(), cause })
    }

    /// The contents, by task and table.
    pub(super) fn images(&self) -> Result<Vec<(String, TableName, TableImage)>, StoreError> {
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
        self.step(task, DiskStep::Open)?;
        let mut disk = lock(&self.0);
        let kept = disk.tasks.entry(task.to_owned()).or_insert_with(|| TaskOnDisk {
            is_damaged: false,
            names: tables.to_vec(),
            tables: tables.iter().map(|_| TableOnDisk::new()).collect(),
            openings: 0,
        });
        if kept.is_damaged {
            let cause = "a checksum is wrong, as the seed chose".to_owned();
            return Err(StoreError::Corrupt { task: task.to_owned(), cause });
        }
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
        work: impl FnOnce(&mut TableOnDisk) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut disk = lock(&self.disk.0);
        let task = disk.tasks.get_mut(&self.task).filter(|task| task.openings == self.opening);
        let table = task.and_then(|task| task.tables.get_mut(table));
        work(table.ok_or_else(|| self.failed("another instance has opened it since"))?)
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

    /// Few, as if the store were slow, so that they do not hold a whole workload.
    fn cache_bytes(&self) -> usize {
        2_000
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.disk.step(&self.task, DiskStep::Apply)?;
        let mut parts = batch.tables.iter();
        parts.try_for_each(|part| self.with(part.table, |table| table.apply(part, batch.at)))
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        self.disk.step(&self.task, DiskStep::Clear)?;
        self.with(table, |table| {
            *table = TableOnDisk::new();
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.disk.step(&self.task, DiskStep::Flush)?;
        let mut disk = lock(&self.disk.0);
        let task = disk.tasks.get_mut(&self.task).filter(|task| task.openings == self.opening);
        let mut tables = task.into_iter().flat_map(|task| &mut task.tables);
        tables.try_for_each(|table| table.persist(table.pending.len()))
    }
}
