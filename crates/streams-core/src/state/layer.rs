//! Writes that are set aside, so that a commit does not include them.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use crate::state::overlay::Writes;

/// A fixed seed. The order of a map never decides anything, but a run must be repeatable.
type Hasher = ahash::RandomState;

/// Up to this many entries are searched linearly: most layers have what one record wrote.
const FEW: usize = 8;

/// Writes to the tables of a task that are invisible to the rest of the task until they are
/// [absorbed](super::tables::Tables::absorb_layer). A layer is filled and absorbed record by
/// record, so it keeps its memory.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Only the first `used` entries are valid.
    entries: Vec<LayerEntry>,
    used: usize,
    /// The indices of entries by hash, once there are more than a few.
    places: HashTable<usize>,
    hasher: Hasher,
}

#[derive(Debug, Default)]
struct LayerEntry {
    /// The table's number in the store.
    table: usize,
    key: Vec<u8>,
    value: Vec<u8>,
    is_deleted: bool,
}

impl LayerEntry {
    fn is_of(&self, table: usize, key: &[u8]) -> bool {
        self.table == table && *self.key == *key
    }

    fn value(&self) -> Option<&[u8]> {
        (!self.is_deleted).then_some(&self.value)
    }
}

impl Default for Layer {
    fn default() -> Self {
        let entries = Vec::new();
        let places = HashTable::new();
        Self { entries, used: 0, places, hasher: Hasher::with_seeds(1, 2, 3, 4) }
    }
}

impl Layer {
    fn place(&self, table: usize, key: &[u8]) -> Option<usize> {
        if self.used <= FEW {
            return self.entries[..self.used].iter().position(|entry| entry.is_of(table, key));
        }
        let is_it = |place: &usize| self.entries[*place].is_of(table, key);
        self.places.find(self.hasher.hash_one((table, key)), is_it).copied()
    }

    /// Returns the value that was written. `None`: not written. `Some(None)`: deleted.
    pub(crate) fn get(&self, table: usize, key: &[u8]) -> Option<Option<&[u8]>> {
        self.place(table, key).map(|place| self.entries[place].value())
    }

    pub(crate) fn put(&mut self, table: usize, key: &[u8], value: Option<&[u8]>) {
        let place = self.place(table, key).unwrap_or_else(|| self.add(table, key));
        let entry = &mut self.entries[place];
        entry.value.clear();
        entry.value.extend_from_slice(value.unwrap_or_default());
        entry.is_deleted = value.is_none();
    }

    fn add(&mut self, table: usize, key: &[u8]) -> usize {
        if self.used == self.entries.len() {
            self.entries.push(LayerEntry::default());
        }
        let entry = &mut self.entries[self.used];
        entry.table = table;
        entry.key.clear();
        entry.key.extend_from_slice(key);
        self.used += 1;
        if self.used == FEW + 1 {
            (0..self.used).for_each(|place| self.note(place));
        } else if self.used > FEW {
            self.note(self.used - 1);
        }
        self.used - 1
    }

    fn note(&mut self, place: usize) {
        let Self { entries, places, hasher, .. } = self;
        let hash = |place: &usize| hasher.hash_one((entries[*place].table, &*entries[*place].key));
        places.insert_unique(hash(&place), place, hash);
    }

    /// The writes to a table with keys in `[from, to)`, sorted.
    pub(crate) fn range<'a>(&'a self, table: usize, from: &[u8], to: Option<&[u8]>) -> Writes<'a> {
        let is_within = |entry: &&LayerEntry| {
            entry.table == table && *entry.key >= *from && to.is_none_or(|to| *entry.key < *to)
        };
        let within: BTreeMap<_, _> = self.entries[..self.used]
            .iter()
            .filter(is_within)
            .map(|entry| (&*entry.key, entry.value()))
            .collect();
        Box::new(within.into_iter())
    }

    /// Passes all writes (table, key, value) to `show` and removes them.
    pub(crate) fn drain(&mut self, mut show: impl FnMut(usize, &[u8], Option<&[u8]>)) {
        for entry in &self.entries[..self.used] {
            show(entry.table, &entry.key, entry.value());
        }
        if self.used > FEW {
            self.places.clear();
            // Do not keep the memory of one exceptionally large batch.
            self.entries.truncate(FEW);
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Step = (u8, usize, u8, Option<u8>);

    proptest! {
        /// For any sequence of writes, the layer equals an ordered map.
        #[test]
        fn a_layer_is_a_map(steps in prop::collection::vec(any::<Step>(), 0..120)) {
            let mut layer = Layer::default();
            let mut model = BTreeMap::new();
            for (step, table, key, value) in steps {
                let table = table % 2;
                let key = [key % 40];
                if step == 0 {
                    let mut all = BTreeMap::new();
                    layer.drain(|table, key, value| {
                        all.insert((table, key.to_vec()), value.map(<[u8]>::to_vec));
                    });
                    prop_assert_eq!(all, std::mem::take(&mut model));
                    continue;
                }
                let value = value.map(|value| vec![value]);
                layer.put(table, &key, value.as_deref());
                model.insert((table, key.to_vec()), value);
                let found = layer.get(table, &key).map(|value| value.map(<[u8]>::to_vec));
                prop_assert_eq!(found.as_ref(), model.get(&(table, key.to_vec())));
                prop_assert_eq!(layer.get(7, &key), None);
                let range: Vec<_> = layer
                    .range(table, &[5], Some(&[30]))
                    .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
                    .collect();
                let expected: Vec<_> = model
                    .range((table, vec![5])..(table, vec![30]))
                    .map(|((_, key), value)| (key.clone(), value.clone()))
                    .collect();
                prop_assert_eq!(range, expected);
            }
        }
    }
}
