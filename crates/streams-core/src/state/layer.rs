//! Writes that are kept apart from what can be committed.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use crate::state::overlay::Writes;

/// A fixed seed: the order of a map never decides anything, and a run must be repeatable.
type Hasher = ahash::RandomState;

/// As many entries are looked through one by one: most layers hold what one record wrote.
const FEW: usize = 8;

/// Writes to the tables of a task that nobody else sees, until they are
/// [absorbed](super::tables::Tables::absorb_layer). It keeps its memory: a layer is filled and
/// absorbed record by record.
#[derive(Debug)]
pub(crate) struct Layer {
    /// The first `used` of them count.
    entries: Vec<LayerEntry>,
    used: usize,
    /// Where entries are, by their hashes, once they are more than a few.
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

    /// `None`: not written. `Some(None)`: deleted.
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

    /// Shows all writes, tables, keys and values, and forgets them.
    pub(crate) fn drain(&mut self, mut show: impl FnMut(usize, &[u8], Option<&[u8]>)) {
        for entry in &self.entries[..self.used] {
            show(entry.table, &entry.key, entry.value());
        }
        if self.used > FEW {
            self.places.clear();
            // One batch with a million writes does not keep memory for them for ever.
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
        /// Whatever is written in whatever order, it holds what an ordered map holds.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(any::<Step>(), 0..120)) {
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
