//! The tables of one task.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rocksdb::{ColumnFamily, DB, FlushOptions, Options, ReadOptions, WriteBatch, WriteOptions};
use streams_core::{Store, StoreBatch, StoreError, TableBatch, TableName, Timestamp};

use super::budget::BudgetShare;
use super::{RocksOptions, failed};

/// Keys of entries begin with this byte, so that no user key equals the position's key.
const ENTRY: u8 = 1;

/// The key of the changelog position and its time, eight big-endian bytes each. It sorts before all
/// entries.
pub(super) const POSITION: [u8; 1] = [0];

pub(super) struct RocksStore {
    pub(super) task: String,
    pub(super) database: DB,
    tables: Vec<Flushing>,
    limits: RocksOptions,
    pub(super) table_options: Options,
    pub(super) key: RefCell<Vec<u8>>,
    share: BudgetShare,
}

/// A table, and its changes that are not on disk yet.
struct Flushing {
    name: TableName,
    entries: u64,
    bytes: usize,
    since: Option<Instant>,
}

impl RocksStore {
    pub(super) fn new(
        task: &str,
        database: DB,
        tables: &[TableName],
        limits: &RocksOptions,
        table_options: Options,
        share: BudgetShare,
    ) -> Self {
        let tables = tables.iter().map(|name| Flushing {
            name: TableName::clone(name),
            entries: 0,
            bytes: 0,
            since: None,
        });
        Self {
            task: task.to_owned(),
            database,
            tables: tables.collect(),
            limits: limits.clone(),
            table_options,
            key: RefCell::new(Vec::new()),
            share,
        }
    }

    pub(super) fn family(&self, table: usize) -> Result<&ColumnFamily, StoreError> {
        let name = self.tables.get(table).map(|table| &table.name);
        let family = name.and_then(|name| self.database.cf_handle(name));
        family.ok_or_else(|| StoreError::Io {
            task: self.task.clone(),
            cause: format!("there is no table number {table}"),
        })
    }

    pub(super) fn failed(&self, error: rocksdb::Error) -> StoreError {
        failed(&self.task, &error)
    }

    fn add(
        &self,
        change: &TableBatch,
        at: Timestamp,
        batch: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        let family = self.family(change.table)?;
        debug_assert!(
            change.entries.iter().is_sorted_by(|(a, _), (b, _)| a < b),
            "sorted entries are written several times faster"
        );
        let mut key = self.key.borrow_mut();
        if let Some(position) = change.position {
            batch.put_cf(family, POSITION, place(position, at));
        }
        for (entry, value) in change.entries.iter() {
            entry_key(entry, &mut key);
            match value {
                Some(value) => batch.put_cf(family, &*key, value),
                None => batch.delete_cf(family, &*key),
            }
        }
        Ok(())
    }

    /// The changelog position, and its time.
    fn place_of(&self, table: usize) -> Result<Option<(i64, Timestamp)>, StoreError> {
        let found = self.database.get_pinned_cf(self.family(table)?, POSITION);
        let found = found.map_err(|error| self.failed(error))?;
        let Some(bytes) = found else { return Ok(None) };
        match bytes.as_chunks::<8>() {
            ([position, at], []) => {
                Ok(Some((i64::from_be_bytes(*position), i64::from_be_bytes(*at))))
            }
            _ => Err(StoreError::Corrupt {
                task: self.task.clone(),
                cause: format!("a changelog position of {} bytes", bytes.len()),
            }),
        }
    }

    /// Flushes tables that are due, in the background. If that does not keep up, it waits for the
    /// flush before more is written.
    fn flush_due(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let bytes_max = self.share.unflushed_bytes() / self.tables.len().max(1);
        for change in &batch.tables {
            let Some(table) = self.tables.get_mut(change.table) else { continue };
            table.note(change);
            let since = table.since.map_or(Duration::ZERO, |since| since.elapsed());
            let is_due = table.entries >= self.limits.flush_after_entries
                || table.bytes > bytes_max
                || since >= self.limits.flush_after;
            let is_exhausted = self.share.is_exhausted();
            if !is_due && !is_exhausted {
                continue;
            }
            table.is_flushed();
            let mut options = FlushOptions::default();
            options.set_wait(is_exhausted);
            let family = self.family(change.table)?;
            let flushed = self.database.flush_cf_opt(family, &options);
            flushed.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

impl Flushing {
    /// A change was written.
    fn note(&mut self, change: &TableBatch) {
        self.since.get_or_insert_with(Instant::now);
        self.entries += change.entries.len() as u64;
        self.bytes += change.entries.bytes() + change.entries.len() * OVERHEAD;
    }

    fn is_flushed(&mut self) {
        self.entries = 0;
        self.bytes = 0;
        self.since = None;
    }
}

pub(super) fn place(position: i64, at: Timestamp) -> Vec<u8> {
    [position.to_be_bytes(), at.to_be_bytes()].concat()
}

/// The approximate overhead of an entry in a write buffer, in bytes.
const OVERHEAD: usize = 40;

pub(super) fn entry_key(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(ENTRY);
    out.extend_from_slice(key);
}

impl Store for RocksStore {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let mut prefixed = self.key.borrow_mut();
        entry_key(key, &mut prefixed);
        let found = self.database.get_pinned_cf(self.family(table)?, &*prefixed);
        let found = found.map_err(|error| self.failed(error))?;
        value.extend_from_slice(found.as_deref().unwrap_or_default());
        Ok(found.is_some())
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        let mut bound = Vec::new();
        match to {
            Some(to) => entry_key(to, &mut bound),
            None => bound.push(ENTRY + 1),
        }
        options.set_iterate_upper_bound(bound);
        let mut start = Vec::new();
        entry_key(from, &mut start);
        let mut entries = self.database.raw_iterator_cf_opt(self.family(table)?, options);
        entries.seek(&start);
        while let Some((key, value)) = entries.item() {
            if visit(key.get(1..).unwrap_or_default(), value).is_break() {
                break;
            }
            entries.next();
        }
        entries.status().map_err(|error| self.failed(error))
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.place_of(table)?.map(|(position, _)| position))
    }

    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.place_of(table)?.map(|(_, at)| at))
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        for change in &batch.tables {
            self.add(change, batch.at, &mut writes)?;
        }
        let mut options = WriteOptions::default();
        // The changelog is the log.
        options.disable_wal(true);
        self.database.write_opt(writes, &options).map_err(|error| self.failed(error))?;
        self.flush_due(batch)
    }

    fn load(&mut self, change: TableBatch, at: Timestamp) -> Result<(), StoreError> {
        if self.is_worth_a_file(&change)? {
            return self.add_file(&change, at);
        }
        self.apply(&StoreBatch { tables: vec![change], at })
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        let Some(Flushing { name, .. }) = self.tables.get(table) else { return Ok(()) };
        let name = name.to_string();
        let dropped = self.database.drop_cf(&name);
        let made = dropped.and_then(|()| self.database.create_cf(&name, &self.table_options));
        made.map_err(|error| self.failed(error))
    }

    fn cache_bytes(&self) -> usize {
        self.share.hot_bytes()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        for table in 0..self.tables.len() {
            if self.tables[table].since.is_none() {
                continue;
            }
            let flushed = self.database.flush_cf(self.family(table)?);
            flushed.map_err(|error| self.failed(error))?;
            self.tables[table].is_flushed();
        }
        Ok(())
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.database.cancel_all_background_work(true);
    }
}
