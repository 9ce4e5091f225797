//! What one of several futures of an agent has read, to check later whether it was up to date.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::record::Timestamp;
use crate::state::row_bytes::{RowBytes, Visit};
use crate::state::tables::{TableIndex, Tables};
use crate::state::unreleased::RecordWrites;
use crate::store::StoreError;

/// The identity of a row: its table's number in the store, and its store key.
pub(crate) type RowPlace = (usize, Box<[u8]>);

/// Rows that were read, whether they existed or not.
#[derive(Debug, Default)]
pub(crate) struct RowsRead {
    pub(super) rows: BTreeSet<RowPlace>,
    pub(super) ranges: Vec<RangeRead>,
    /// For tables with a ttl: the timestamps of the rows that were found.
    pub(super) found: BTreeSet<(usize, Timestamp)>,
}

/// A range of a table's store keys.
#[derive(Debug)]
pub(super) struct RangeRead {
    table: usize,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
}

impl RangeRead {
    pub(super) fn has(&self, table: usize, key: &[u8]) -> bool {
        self.table == table && *self.from <= *key && self.to.as_ref().is_none_or(|to| *key < **to)
    }
}

impl RowsRead {
    pub(super) fn append(&mut self, mut later: Self) {
        self.rows.append(&mut later.rows);
        self.ranges.append(&mut later.ranges);
        self.found.append(&mut later.found);
    }

    /// Whether any of these writes would have been visible to the reads.
    pub(super) fn has_any_of(&self, writes: &RecordWrites) -> bool {
        if self.rows.is_empty() && self.ranges.is_empty() {
            return false;
        }
        writes.rows().any(|row| {
            self.rows.contains(&(row.table, row.key.clone()))
                || self.ranges.iter().any(|range| range.has(row.table, &row.key))
        })
    }

    /// Whether it found a row of `table` that disappears once the rows up to this time expire.
    pub(super) fn has_found(&self, table: usize, gone: Timestamp) -> bool {
        self.found.range((table, Timestamp::MIN)..=(table, gone)).next().is_some()
    }
}

/// The task's tables, with every read noted.
pub(super) struct Noted<'a> {
    pub(super) tables: &'a mut Tables,
    pub(super) read: &'a mut RowsRead,
}

impl RowBytes for Noted<'_> {
    fn get(
        &mut self,
        table: TableIndex,
        key: &[u8],
    ) -> Result<Option<(Timestamp, &[u8])>, StoreError> {
        let (local, store_key) = self.tables.place_of(table, key);
        self.read.rows.insert((local, store_key.into()));
        let expires = self.tables.expiry_clock(table).is_some();
        let row = self.tables.get(table, key)?;
        if let Some((at, _)) = row.filter(|_| expires) {
            self.read.found.insert((local, at));
        }
        Ok(row)
    }

    fn scan(
        &mut self,
        table: TableIndex,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let (local, first, end) = self.tables.places_of(table, from, to);
        self.read.ranges.push(RangeRead { table: local, from: first, to: end });
        let expires = self.tables.expiry_clock(table).is_some();
        let Self { tables, read } = self;
        tables.scan(table, from, to, &mut |key, at, value| -> ControlFlow<()> {
            if expires {
                read.found.insert((local, at));
            }
            visit(key, at, value)
        })
    }
}
