//! Entries that are found by hash until they are needed in order.

use std::mem::take;

use hashbrown::HashTable;

use crate::state::overlay::{Key, Value};
use crate::store::key_order;

/// A fixed seed. The order of a map never decides anything, but a run must be repeatable.
type Hasher = ahash::RandomState;

/// Keys with values. Once sorted, they stay sorted until another key is added, because a commit
/// needs the order several times.
#[derive(Debug)]
pub(crate) struct HashedEntries {
    entries: Vec<(Key, Value)>,
    /// The indices of keys by hash. Empty while the entries are sorted.
    places: HashTable<usize>,
    is_sorted: bool,
    hasher: Hasher,
}

impl Default for HashedEntries {
    fn default() -> Self {
        let hasher = Hasher::with_seeds(1, 2, 3, 4);
        Self { entries: Vec::new(), places: HashTable::new(), is_sorted: false, hasher }
    }
}

impl HashedEntries {
    pub(crate) fn entries(&self) -> &[(Key, Value)] {
        &self.entries
    }

    fn place(&self, key: &[u8]) -> Option<usize> {
        if self.is_sorted {
            return self.entries.binary_search_by(|(other, _)| (**other).cmp(key)).ok();
        }
        let is_it = |place: &usize| *self.entries[*place].0 == *key;
        self.places.find(self.hasher.hash_one(key), is_it).copied()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.place(key).map(|place| &self.entries[place].1)
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.place(key).map(|place| &mut self.entries[place].1)
    }

    /// Adds a key that is not present.
    pub(crate) fn insert(&mut self, key: &[u8], value: Value) {
        self.find_by_hash();
        self.entries.push((key.into(), value));
        self.note(self.entries.len() - 1);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Value> {
        self.find_by_hash();
        let entries = &mut self.entries;
        let hasher = &self.hasher;
        let is_it = |place: &usize| *entries[*place].0 == *key;
        let found = self.places.find_entry(hasher.hash_one(key), is_it).ok()?;
        let (place, _) = found.remove();
        let (_, value) = entries.swap_remove(place);
        // The last entry has moved here.
        if let Some((moved, _)) = entries.get(place) {
            let last = entries.len();
            let hash = hasher.hash_one(&**moved);
            if let Some(found) = self.places.find_mut(hash, |place| *place == last) {
                *found = place;
            }
        }
        Some(value)
    }

    pub(crate) fn sort(&mut self) {
        if !self.is_sorted {
            let entries = &mut self.entries;
            let sorted: Vec<_> = key_order(entries.len(), |number| &*entries[number].0).collect();
            self.entries = sorted.into_iter().map(|number| take(&mut entries[number])).collect();
            self.places.clear();
            self.is_sorted = true;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
        self.is_sorted = false;
    }

    fn find_by_hash(&mut self) {
        if self.is_sorted {
            self.is_sorted = false;
            (0..self.entries.len()).for_each(|place| self.note(place));
        }
    }

    fn note(&mut self, place: usize) {
        let Self { entries, places, hasher, .. } = self;
        let hash = |place: &usize| hasher.hash_one(&*entries[*place].0);
        places.insert_unique(hash(&place), place, hash);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// For any sequence of operations, it equals an ordered map.
        #[test]
        fn acts_as_a_map(steps in prop::collection::vec((0..5_u8, 0..12_u8, any::<u8>()), 0..200)) {
            let mut hashed = HashedEntries::default();
            let mut model = BTreeMap::new();
            for (step, key, value) in steps {
                let key = [key];
                let value = Some(Box::from([value]));
                match step {
                    0 | 1 => {
                        match hashed.get_mut(&key) {
                            Some(there) => *there = value.clone(),
                            None => hashed.insert(&key, value.clone()),
                        }
                        model.insert(Box::from(key), value);
                    }
                    2 => prop_assert_eq!(hashed.remove(&key), model.remove(&key[..])),
                    3 => {
                        hashed.sort();
                        let all: Vec<_> = model.clone().into_iter().collect();
                        prop_assert_eq!(hashed.entries(), all);
                    }
                    _ if value == Some(Box::from([0])) => {
                        hashed.clear();
                        model.clear();
                    }
                    _ => {}
                }
                prop_assert_eq!(hashed.get(&key), model.get(&key[..]));
                prop_assert_eq!(hashed.entries().len(), model.len());
            }
        }
    }
}
