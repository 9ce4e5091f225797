//! Uncommitted writes of one table, in front of its store.

mod hash_map;

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::store::Entries;
use crate::store::TableBatch;
use hash_map::HashedEntries;

/// What was written to a table since the last commit: the net change per key. `None` is a deletion.
///
/// It also serves as the record cache: however often a key is written between two commits, its
/// changelog gets one record.
#[derive(Debug)]
pub(crate) struct Overlay {
    entries: Written,
    bytes: usize,
}

pub(crate) type Key = Box<[u8]>;
pub(crate) type Value = Option<Box<[u8]>>;

/// Keys with what was written, `None` for a deletion.
pub(crate) type Writes<'w> = Box<dyn Iterator<Item = (&'w [u8], Option<&'w [u8]>)> + 'w>;

/// Most tables are read by single keys. Only tables that are read in ranges, record by record, pay
/// for an order.
#[derive(Debug)]
enum Written {
    HashedEntries(HashedEntries),
    Ordered(BTreeMap<Key, Value>),
}

impl Written {
    fn get(&self, key: &[u8]) -> Option<&Value> {
        match self {
            Self::HashedEntries(map) => map.get(key),
            Self::Ordered(map) => map.get(key),
        }
    }

    fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        match self {
            Self::HashedEntries(map) => map.get_mut(key),
            Self::Ordered(map) => map.get_mut(key),
        }
    }

    fn insert(&mut self, key: &[u8], value: Value) {
        match self {
            Self::HashedEntries(map) => map.insert(key, value),
            Self::Ordered(map) => drop(map.insert(key.into(), value)),
        }
    }

    fn remove(&mut self, key: &[u8]) -> Option<Value> {
        match self {
            Self::HashedEntries(map) => map.remove(key),
            Self::Ordered(map) => map.remove(key),
        }
    }

    fn sort(&mut self) {
        if let Self::HashedEntries(map) = self {
            map.sort();
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::HashedEntries(map) => map.entries().len(),
            Self::Ordered(map) => map.len(),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = (&[u8], Option<&[u8]>)> + '_> {
        match self {
            Self::HashedEntries(map) => {
                Box::new(map.entries().iter().map(|(key, value)| borrowed(key, value)))
            }
            Self::Ordered(map) => Box::new(map.iter().map(|(key, value)| borrowed(key, value))),
        }
    }

    fn clear(&mut self) {
        match self {
            Self::HashedEntries(map) => map.clear(),
            Self::Ordered(map) => map.clear(),
        }
    }
}

fn borrowed<'a>(key: &'a Key, value: &'a Value) -> (&'a [u8], Option<&'a [u8]>) {
    (key, value.as_deref())
}

/// Roughly the cost of a map entry besides its key and value.
const ENTRY_OVERHEAD: usize = 48;

impl Default for Overlay {
    fn default() -> Self {
        Self { entries: Written::HashedEntries(HashedEntries::default()), bytes: 0 }
    }
}

impl Overlay {
    /// Creates an overlay with cheap ranges.
    pub(crate) fn ordered() -> Self {
        Self { entries: Written::Ordered(BTreeMap::new()), bytes: 0 }
    }

    /// Returns the value that was written. `None`: not written since the commit. `Some(None)`:
    /// deleted.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.entries.get(key).map(|value| value.as_deref())
    }

    /// Writes a value, and returns the previous one if `keep` is set.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>, keep: bool) -> Previous {
        let length = value.map_or(0, <[u8]>::len);
        // Only a key's first write needs two look-ups. Hot keys are written again and again.
        if let Some(slot) = self.entries.get_mut(key) {
            let before = slot.as_ref().map_or(0, |value| value.len());
            self.bytes = self.bytes + length - before;
            let previous = if keep { Previous::Written(slot.clone()) } else { Previous::Unknown };
            overwrite(slot, value);
            return previous;
        }
        self.bytes += key.len() + length + ENTRY_OVERHEAD;
        self.entries.insert(key, value.map(Into::into));
        Previous::Absent
    }

    /// Undoes a write.
    pub(crate) fn restore(&mut self, key: &[u8], previous: Previous) {
        match previous {
            Previous::Written(value) => {
                self.put(key, value.as_deref(), false);
            }
            Previous::Absent => {
                if let Some(value) = self.entries.remove(key) {
                    let length = value.map_or(0, |value| value.len());
                    self.bytes -= key.len() + length + ENTRY_OVERHEAD;
                }
            }
            Previous::Unknown => {}
        }
    }

    /// The entries in `[from, to)`, sorted.
    pub(crate) fn range<'a>(&'a self, from: &[u8], to: Option<&[u8]>) -> Writes<'a> {
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        if to.is_some_and(|to| to <= from) {
            return Box::new(std::iter::empty());
        }
        match &self.entries {
            Written::Ordered(map) => {
                Box::new(map.range::<[u8], _>(bounds).map(|(key, value)| borrowed(key, value)))
            }
            Written::HashedEntries(map) => {
                let all = map.entries().iter().map(|(key, value)| borrowed(key, value));
                let within: BTreeMap<_, _> = all
                    .filter(|(key, _)| std::ops::RangeBounds::<[u8]>::contains(&bounds, *key))
                    .collect();
                Box::new(within.into_iter())
            }
        }
    }

    /// All entries, sorted by key.
    pub(crate) fn sorted(&mut self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.sort();
        self.entries.iter()
    }

    /// Removes all entries and returns them as the batch for the store.
    pub(crate) fn drain(&mut self, table: usize, position: Option<i64>) -> TableBatch {
        let mut entries = Entries::with_capacity(self.entries.len(), self.bytes);
        self.sorted().for_each(|(key, value)| entries.push(key, value));
        self.clear();
        TableBatch { table, entries, position }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Approximately how much memory the entries use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What an overlay had before a write.
#[derive(Clone, Debug)]
pub(crate) enum Previous {
    Absent,
    Written(Option<Box<[u8]>>),
    /// It was not recorded.
    Unknown,
}

/// Reuses the allocation if the length is the same, as it is for counts and sums.
fn overwrite(slot: &mut Option<Box<[u8]>>, value: Option<&[u8]>) {
    match (slot.as_mut(), value) {
        (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
        _ => *slot = value.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_can_be_undone() {
        let mut overlay = Overlay::default();
        overlay.put(b"a", Some(b"1"), false);
        let bytes = overlay.bytes();
        let changed = overlay.put(b"a", Some(b"22"), true);
        let added = overlay.put(b"b", None, true);
        overlay.restore(b"b", added);
        overlay.restore(b"a", changed);
        let all: Vec<_> = overlay.sorted().collect();
        assert_eq!(all, [(&b"a"[..], Some(&b"1"[..]))]);
        assert_eq!(overlay.bytes(), bytes);
    }
}
