//! Which records have read rows that others may write before it is their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::agent::rows_read::{RowPlace, RowsRead};
use crate::state::unreleased::RecordWrites;

/// The numbers of the unreleased records that have read something.
#[derive(Debug, Default)]
pub(super) struct Readers {
    by_row: BTreeMap<RowPlace, BTreeSet<u64>>,
    /// Records whose reads must be checked one by one: ranges, and rows that expire.
    others: BTreeSet<u64>,
}

impl Readers {
    pub(super) fn add(&mut self, number: u64, read: &RowsRead) {
        for row in &read.rows {
            self.by_row.entry(row.clone()).or_default().insert(number);
        }
        if !read.ranges.is_empty() || !read.found.is_empty() {
            self.others.insert(number);
        }
    }

    pub(super) fn remove(&mut self, number: u64, read: &RowsRead) {
        for row in &read.rows {
            let Some(numbers) = self.by_row.get_mut(row) else { continue };
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_row.remove(row);
            }
        }
        self.others.remove(&number);
    }

    /// Among the records with these numbers, those that have read one of the rows.
    pub(super) fn of<'a>(
        &'a self,
        writes: &'a RecordWrites,
        numbers: &'a Range<u64>,
    ) -> impl Iterator<Item = u64> + 'a {
        let places = writes.rows().map(|row| (row.table, row.key.clone()));
        let readers = places.filter_map(|place| self.by_row.get(&place));
        readers.flat_map(|readers| readers.range(numbers.clone())).copied()
    }

    /// Among the records with these numbers, those whose reads must be checked one by one.
    pub(super) fn others(&self, numbers: Range<u64>) -> impl Iterator<Item = u64> {
        self.others.range(numbers).copied()
    }
}
