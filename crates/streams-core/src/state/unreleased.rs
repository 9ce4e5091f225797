//! What one future of an agent has written for records that are finished but not yet in order.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::state::overlay::Writes;

/// The writes for a record, in order. They become the task's together.
#[derive(Debug, Default)]
pub(crate) struct RecordWrites {
    rows: Vec<RowWrite>,
    /// The order among what its writer has finished.
    sequence: u64,
}

#[derive(Debug)]
pub(crate) struct RowWrite {
    /// The table's number in the store.
    pub(crate) table: usize,
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<Box<[u8]>>,
}

impl RecordWrites {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &RowWrite> {
        self.rows.iter()
    }

    /// Adds later writes for the same record.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.sequence = self.sequence.max(later.sequence);
        self.rows.append(&mut later.rows);
    }
}

/// The newest writes of one future that are not yet the task's. Only that future sees them.
#[derive(Debug, Default)]
pub(crate) struct Unreleased {
    tables: BTreeMap<usize, BTreeMap<Box<[u8]>, Newest>>,
    sequence: u64,
}

#[derive(Debug)]
struct Newest {
    value: Option<Box<[u8]>>,
    sequence: u64,
}

impl Unreleased {
    /// Returns the value that was written. `None`: not written. `Some(None)`: deleted.
    pub(crate) fn get(&self, table: usize, key: &[u8]) -> Option<Option<&[u8]>> {
        let newest = self.tables.get(&table)?.get(key)?;
        Some(newest.value.as_deref())
    }

    /// The writes to a table with keys in `[from, to)`, sorted.
    pub(crate) fn range<'a>(&'a self, table: usize, from: &[u8], to: Option<&[u8]>) -> Writes<'a> {
        let Some(rows) = self.tables.get(&table) else { return Box::new(std::iter::empty()) };
        if to.is_some_and(|to| to <= from) {
            return Box::new(std::iter::empty());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let rows = rows.range::<[u8], _>(bounds);
        Box::new(rows.map(|(key, newest)| (&**key, newest.value.as_deref())))
    }

    /// Adds the writes for the next record.
    pub(crate) fn keep(&mut self, rows: Vec<RowWrite>) -> RecordWrites {
        self.sequence += 1;
        let writes = RecordWrites { rows, sequence: self.sequence };
        self.show(&writes);
        writes
    }

    /// Adds the writes of the future that this one replaces.
    pub(crate) fn show(&mut self, writes: &RecordWrites) {
        let sequence = writes.sequence;
        self.sequence = self.sequence.max(sequence);
        for RowWrite { table, key, value } in &writes.rows {
            let newest = Newest { value: value.clone(), sequence };
            self.tables.entry(*table).or_default().insert(key.clone(), newest);
        }
    }

    /// Removes writes that have become the task's. A newer write to the same row remains.
    pub(crate) fn forget(&mut self, writes: &RecordWrites) {
        for RowWrite { table, key, .. } in &writes.rows {
            let Some(rows) = self.tables.get_mut(table) else { continue };
            // A newer write must remain: without it, the future would read the older value from the
            // task and repeat its work from there.
            if rows.get(key).is_some_and(|newest| newest.sequence <= writes.sequence) {
                rows.remove(key);
            }
            if rows.is_empty() {
                self.tables.remove(table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &[u8], value: &[u8]) -> RowWrite {
        RowWrite { table: 3, key: key.into(), value: Some(value.into()) }
    }

    #[test]
    fn a_newer_write_remains_until_it_becomes_the_tasks() {
        let mut unreleased = Unreleased::default();
        let first = unreleased.keep(vec![row(b"a", b"1"), row(b"b", b"1")]);
        let second = unreleased.keep(vec![row(b"a", b"2")]);
        unreleased.forget(&first);
        assert_eq!(unreleased.get(3, b"a"), Some(Some(&b"2"[..])));
        assert_eq!(unreleased.get(3, b"b"), None);
        unreleased.forget(&second);
        assert!(unreleased.tables.is_empty());
    }
}
