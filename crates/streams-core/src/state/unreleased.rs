//! What one of several futures of an agent has written for records that are done, but not in turn.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::state::overlay::Writes;

/// What was written for a record, in order: all its writes become the task's together.
#[derive(Debug, Default)]
pub(crate) struct RecordWrites {
    rows: Vec<RowWrite>,
    /// When, among what its writer has finished.
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

    /// Adds what was written later, for the same record.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.sequence = self.sequence.max(later.sequence);
        self.rows.append(&mut later.rows);
    }
}

/// The newest writes of one future that are not the task's yet: it sees them, nobody else does.
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
    /// `None`: not written. `Some(None)`: deleted.
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

    /// Adds what was written for the next record.
    pub(crate) fn keep(&mut self, rows: Vec<RowWrite>) -> RecordWrites {
        self.sequence += 1;
        let writes = RecordWrites { rows, sequence: self.sequence };
        self.show(&writes);
        writes
    }

    /// Adds what a future that this one takes the place of has written.
    pub(crate) fn show(&mut self, writes: &RecordWrites) {
        let sequence = writes.sequence;
        self.sequence = self.sequence.max(sequence);
        for RowWrite { table, key, value } in &writes.rows {
            let newest = Newest { value: value.clone(), sequence };
            self.tables.entry(*table).or_default().insert(key.clone(), newest);
        }
    }

    /// These are the task's now. Where one was written again since, the newer one stays.
    pub(crate) fn forget(&mut self, writes: &RecordWrites) {
        for RowWrite { table, key, .. } in &writes.rows {
            let Some(rows) = self.tables.get_mut(table) else { continue };
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
    fn what_was_written_again_stays_until_that_is_the_tasks() {
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
