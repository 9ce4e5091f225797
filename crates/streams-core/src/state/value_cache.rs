//! Committed values of a table that were recently read or written, in front of its store.

use hashbrown::HashMap;

/// A fixed seed, as in the overlay: a run must be repeatable.
type Hasher = ahash::RandomState;
type Values = HashMap<Box<[u8]>, Box<[u8]>, Hasher>;

/// Two generations. Values that are used go into the young one. When it is full it becomes the old
/// one, and old values that were not used since are dropped. So no order has to be maintained.
#[derive(Debug)]
pub(crate) struct ValueCache {
    young: Values,
    old: Values,
    /// The size of the young generation, and of the old one when it became old.
    bytes: usize,
    old_bytes: usize,
    /// The limit of both generations; 0 disables the cache.
    limit: usize,
}

/// Roughly the cost of an entry besides its key and value.
const OVERHEAD: usize = 96;

impl ValueCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { young: values(), old: values(), bytes: 0, old_bytes: 0, limit }
    }

    pub(crate) fn limit(&mut self, limit: usize) {
        // The old generation was at most half of the limit.
        if limit < self.limit && self.old_bytes > limit / 2 {
            self.old = values();
            self.old_bytes = 0;
        }
        self.limit = limit;
        self.age();
    }

    /// Whether `key` is cached. If so, it becomes young.
    pub(crate) fn refresh(&mut self, key: &[u8]) -> bool {
        if self.limit == 0 {
            return false;
        }
        if self.young.contains_key(key) {
            return true;
        }
        let Some((key, value)) = self.old.remove_entry(key) else { return false };
        self.bytes += cost(&key, &value);
        self.young.insert(key, value);
        true
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.young.get(key).map(|value| &**value)
    }

    /// Caches what the store has under `key` now.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.limit == 0 {
            return;
        }
        if let (Some(kept), Some(value)) = (self.young.get_mut(key), value)
            && kept.len() == value.len()
        {
            kept.copy_from_slice(value);
            return;
        }
        self.old.remove(key);
        if let Some(before) = self.young.remove(key) {
            self.bytes -= cost(key, &before);
        }
        if let Some(value) = value {
            self.bytes += cost(key, value);
            self.young.insert(key.into(), value.into());
        }
        self.age();
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.bytes = 0;
        self.old_bytes = 0;
    }

    /// Approximately how much memory the values use; at most the limit.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.old_bytes
    }

    fn age(&mut self) {
        if self.bytes > self.limit / 2 {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.old_bytes = std::mem::take(&mut self.bytes);
        }
    }
}

fn values() -> Values {
    Values::with_hasher(Hasher::with_seeds(5, 6, 7, 8))
}

fn cost(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(hot: &mut ValueCache, key: &str, value: Option<&str>) {
        hot.put(key.as_bytes(), value.map(str::as_bytes));
    }

    fn get<'a>(hot: &'a mut ValueCache, key: &str) -> Option<&'a [u8]> {
        hot.refresh(key.as_bytes()).then(|| hot.get(key.as_bytes()))?
    }

    #[test]
    fn the_latest_value_counts_in_either_generation() {
        let mut hot = ValueCache::new(1_000);
        put(&mut hot, "a", Some("1"));
        (0..5).for_each(|n| put(&mut hot, &n.to_string(), Some("x")));
        assert_eq!(get(&mut hot, "a"), Some(&b"1"[..]), "old, and young again");
        put(&mut hot, "a", Some("2"));
        assert_eq!(get(&mut hot, "a"), Some(&b"2"[..]));
        put(&mut hot, "a", None);
        assert_eq!(get(&mut hot, "a"), None);
        (0..5).for_each(|n| put(&mut hot, &n.to_string(), Some("y")));
        assert_eq!(get(&mut hot, "a"), None, "nor is it in the old generation");
    }

    #[test]
    fn the_cache_stays_within_its_limit_and_keeps_values_in_use() {
        let mut hot = ValueCache::new(10_000);
        for n in 0..10_000 {
            put(&mut hot, &n.to_string(), Some("some value"));
            assert_eq!(get(&mut hot, "0"), Some(&b"some value"[..]), "after {n}");
        }
        assert!((hot.young.len() + hot.old.len()) * OVERHEAD <= 10_000);
        let kept = hot.bytes();
        hot.limit(10_000);
        assert_eq!(hot.bytes(), kept, "the limit is set at every commit");
        hot.limit(0);
        assert_eq!(get(&mut hot, "0"), None);
    }
}
