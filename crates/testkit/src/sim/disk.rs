//! The disk of a simulated instance: what was applied and not flushed may be gone after a crash,
//! of each table as much as chance wants.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streams_core::{Store, StoreBatch, StoreEntry, StoreError, StoreProvider, TableName};

use crate::dice::Dice;

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

#[derive(Default)]
struct Table {
    current: Image,
    durable: Image,
    /// What `current` has and `durable` has not, in order.
    pending: Vec<(Vec<StoreEntry>, Option<i64>)>,
}

/// A table at some moment.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) entries: BTreeMap<Box<[u8]>, Box<[u8]>>,
    pub(super) position: Option<i64>,
}

impl Image {
    fn apply(&mut self, entries: &[StoreEntry], position: Option<i64>) {
        for (key, value) in entries {
            match value {
                Some(value) => drop(self.entries.insert(key.clone(), value.clone())),
                None => drop(self.entries.remove(key)),
            }
        }
        self.position = position.or(self.position);
    }
}

impl SimDisk {
    /// The process that used it died.
    pub(super) fn crash(&self, dice: &mut Dice) {
        for table in self.lock().tasks.values_mut().flat_map(|task| &mut task.tables) {
            let kept = dice.below(table.pending.len() + 1);
            for (entries, position) in table.pending.drain(..).take(kept) {
                table.durable.apply(&entries, position);
            }
            table.current = table.durable.clone();
        }
    }

    /// The next write fails, as on a full disk.
    pub(super) fn fail_next(&self) {
        self.lock().failing = true;
    }

    /// It works again.
    pub(super) fn heal(&self) {
        self.lock().failing = false;
    }

    /// What it holds, by task and table.
    pub(super) fn images(&self) -> Vec<(String, TableName, Image)> {
        let disk = self.lock();
        let of_task = |(name, task): (&String, &Task)| {
            let tables = task.names.iter().zip(&task.tables);
            tables
                .map(|(table, kept)| (name.clone(), Arc::clone(table), kept.current.clone()))
                .collect::<Vec<_>>()
        };
        disk.tasks.iter().flat_map(of_task).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreProvider for SimDisk {
    fn open(&self, task: &str, tables: &[TableName]) -> Result<Box<dyn Store>, StoreError> {
        let mut disk = self.lock();
        let kept = disk.tasks.entry(task.to_owned()).or_insert_with(|| Task {
            names: tables.to_vec(),
            tables: tables.iter().map(|_| Table::default()).collect(),
            openings: 0,
        });
        kept.openings += 1;
        let opening = kept.openings;
        Ok(Box::new(SimStore { disk: self.clone(), task: task.to_owned(), opening }))
    }

    fn destroy(&self, task: &str) -> Result<(), StoreError> {
        self.lock().tasks.remove(task);
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
    fn with<T>(&self, table: usize, work: impl FnOnce(&mut Table) -> T) -> Result<T, StoreError> {
        let mut disk = self.disk.lock();
        let task = disk.tasks.get_mut(&self.task).filter(|task| task.openings == self.opening);
        let table = task.and_then(|task| task.tables.get_mut(table));
        table.map(work).ok_or_else(|| self.failed("it was opened again by somebody else"))
    }

    fn failed(&self, cause: &str) -> StoreError {
        StoreError::Io { task: self.task.clone(), cause: cause.to_owned() }
    }
}

impl Store for SimStore {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        self.with(table, |table| {
            let found = table.current.entries.get(key);
            value.extend_from_slice(found.map_or(&[], |found| found));
            found.is_some()
        })
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        self.with(table, |table| {
            let range = table.current.entries.range::<[u8], _>((Bound::Included(from), to));
            for (key, value) in range {
                if visit(key, value).is_break() {
                    break;
                }
            }
        })
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        self.with(table, |table| table.current.position)
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if std::mem::take(&mut self.disk.lock().failing) {
            return Err(self.failed("no space left on the disk, as the seed has it"));
        }
        for part in &batch.tables {
            self.with(part.table, |table| {
                table.current.apply(&part.entries, part.position);
                table.pending.push((part.entries.clone(), part.position));
            })?;
        }
        Ok(())
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        self.with(table, |table| *table = Table::default())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut disk = self.disk.lock();
        let task = disk.tasks.get_mut(&self.task).filter(|task| task.openings == self.opening);
        for table in task.into_iter().flat_map(|task| &mut task.tables) {
            for (entries, position) in table.pending.drain(..) {
                table.durable.apply(&entries, position);
            }
        }
        Ok(())
    }
}
