//! Entries of a table on their way into its store: many keys and values in one buffer.

use std::ops::Range;

use crate::store::key_order;

/// Keys of a table's store with their new values; `None` deletes.
///
/// ```
/// use headwater::spi::Entries;
/// let mut entries = Entries::new();
/// entries.push(b"b", Some(b"1"));
/// entries.push(b"a", None);
/// entries.push(b"b", Some(b"2"));
/// entries.sort();
/// let sorted: Vec<_> = entries.iter().collect();
/// assert_eq!(sorted, [(&b"a"[..], None), (&b"b"[..], Some(&b"2"[..]))]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
    spans: Vec<EntrySpan>,
}

/// The position of an entry: its key, followed by its value.
#[derive(Clone, Copy, Debug)]
struct EntrySpan {
    key: usize,
    value: usize,
    end: usize,
    is_there: bool,
}

impl EntrySpan {
    fn key(self) -> Range<usize> {
        self.key..self.value
    }
}

impl Entries {
    /// Creates an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty collection with space for that many entries of that many bytes in total.
    pub(crate) fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(entries) }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The size of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an entry.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.push_parts(&[key], Some(&[value])),
            None => self.push_parts(&[key], None),
        }
    }

    /// Adds an entry whose key and value consist of several parts.
    pub(crate) fn push_parts(&mut self, key: &[&[u8]], value: Option<&[&[u8]]>) {
        let start = self.bytes.len();
        key.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let middle = self.bytes.len();
        let parts = value.unwrap_or_default();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let end = self.bytes.len();
        let is_there = value.is_some();
        self.spans.push(EntrySpan { key: start, value: middle, end, is_there });
    }

    /// Sorts the entries by key. Of several with the same key, the last one remains.
    pub fn sort(&mut self) {
        let Self { bytes, spans } = self;
        let key = |span: &EntrySpan| &bytes[span.key()];
        // Entries with equal keys stay in the order of addition. Their positions cannot tell it,
        // because a deletion of the empty key has no length.
        let mut sorted: Vec<EntrySpan> = key_order(spans.len(), |number| key(&spans[number]))
            .map(|number| spans[number])
            .collect();
        sorted.dedup_by(|next, kept| {
            let is_same = key(next) == key(kept);
            if is_same {
                *kept = *next;
            }
            is_same
        });
        self.spans = sorted;
    }

    /// The entries, in the order of addition or sorting.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.spans.iter().map(|span| {
            let value = span.is_there.then(|| &self.bytes[span.value..span.end]);
            (&self.bytes[span.key()], value)
        })
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(K, Option<V>)> for Entries {
    fn extend<I: IntoIterator<Item = (K, Option<V>)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.push(key.as_ref(), value.as_ref().map(AsRef::as_ref));
        }
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(K, Option<V>)> for Entries {
    fn from_iter<I: IntoIterator<Item = (K, Option<V>)>>(entries: I) -> Self {
        let mut all = Self::new();
        all.extend(entries);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_keeps_the_last_entry_of_each_key() {
        let pairs = [("b", Some("1")), ("a", Some("2")), ("b", None), ("", Some("")), ("a", None)];
        let mut entries: Entries = pairs.into_iter().chain([("a", Some("3"))]).collect();
        assert_eq!((entries.len(), entries.bytes()), (6, 8));
        entries.sort();
        let all: Vec<_> = entries.iter().collect();
        assert_eq!(all, [(&b""[..], Some(&b""[..])), (b"a", Some(b"3")), (b"b", None)]);
        entries.clear();
        assert!(entries.is_empty() && entries.bytes() == 0);
    }

    #[test]
    fn the_empty_key_may_be_deleted_and_written_again() {
        for times in 0..40 {
            let deleted = std::iter::repeat_n(("", None), times);
            let mut entries: Entries = deleted.chain([("", Some("last"))]).collect();
            entries.sort();
            assert_eq!(entries.iter().collect::<Vec<_>>(), [(&b""[..], Some(&b"last"[..]))]);
        }
    }

    #[test]
    fn entries_are_assembled_from_parts() {
        let mut entries = Entries::new();
        entries.push_parts(&[b"k", b"ey"], Some(&[b"v", b"", b"alue"]));
        entries.push_parts(&[b"gone"], None);
        let all: Vec<_> = entries.iter().collect();
        assert_eq!(all, [(&b"key"[..], Some(&b"value"[..])), (b"gone", None)]);
    }
}
