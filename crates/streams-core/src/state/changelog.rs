//! Changelog entries in Kafka Streams' bytes, and the same entries in the local store.
//!
//! Values have a timestamp: in the store as eight big-endian bytes in front, in the changelog as
//! the record's own. A window's changelog key is the key, the window's start (8 bytes) and a
//! sequence number (4 bytes, always 0), as in Kafka Streams. The store puts the start first, so
//! that closing windows is one scan from the front.
//!
//! A change of the store's layout must raise the version of the state directory
//! (`state/src/directory.rs`), so that tables of an earlier version are restored from scratch.

use std::sync::Arc;

use crate::record::{RawRecord, Timestamp};
use crate::store::Entries;
use crate::stored_format::StoredFormat;
use crate::stream_clock::ClockIndex;

/// A table as its task's store and its changelog see it.
#[derive(Clone, Debug)]
pub struct TableSpec {
    pub(crate) name: Arc<str>,
    pub(crate) changelog: Arc<str>,
    pub(crate) layout: Layout,
    /// Whether readers other than its writer may ask for ranges of its keys.
    pub(crate) is_ranged: bool,
    /// How long its rows are retained; `None` is without limit. With a ttl the store has two kinds
    /// of entries: `0, key` with the value, and the index entry `1, time, key`, which says that the
    /// row must be checked when rows with that timestamp expire. Each row has an index entry with
    /// its own timestamp or an earlier one. Other index entries may exist and have no effect.
    pub(crate) ttl: Option<Ttl>,
    /// What the log stores about its types and windows.
    pub(crate) terms: StoredFormat,
}

/// How long the rows of a table are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ttl {
    /// A row expires when stream time is this far past its timestamp.
    pub(crate) ms: i64,
    /// The stream time that decides.
    pub(crate) clock: ClockIndex,
}

/// The layout of a table's entries in the store and in the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Plain keys.
    KeyValue,
    /// Plain keys that are often read in ranges.
    Ordered,
    /// A key in a window that is named by its start. The store puts the start first.
    Window,
    /// A key with a suffix of that many bytes that begins with a time: sessions, windows that
    /// depend on the records, join buffers. They are searched by key and by time, so the store has
    /// two entries for each: `0, length, key, suffix` with the value, and `1, suffix, key`. The
    /// changelog has `key, suffix`.
    ///
    /// The key's length (4 bytes, big-endian) keeps the entries of a key together. Without it,
    /// entries of longer keys with this prefix would be among them.
    Keyed(usize),
    /// Records that wait for a retry, with entries that find them by time and by key
    /// (`task/retries`). Plain keys that are often read in ranges.
    Retries,
}

impl Layout {
    /// Describes the layout. The log stores this text, so it must not change.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::KeyValue => "keys",
            Self::Ordered => "ordered keys",
            Self::Window => "windows",
            Self::Keyed(_) => "keys and times",
            Self::Retries => "records to be tried again",
        }
    }
}

/// The first byte of store keys in [`Layout::Keyed`], and of rows of tables with a ttl.
pub(crate) const BY_KEY: u8 = 0;
/// The first byte of index entries in both.
pub(crate) const BY_TIME: u8 = 1;
/// Where the key begins in a by-key store key: after [`BY_KEY`] and the key's length.
const KEY_AT: usize = 5;

/// A changelog record that is not an entry of its table: something else wrote to the topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record at offset {offset} of the changelog {changelog} is not an entry of the table \
     {table}: {why}"
)]
pub struct RestoreError {
    /// The table.
    pub table: Arc<str>,
    /// Its changelog topic.
    pub changelog: Arc<str>,
    /// The record's offset.
    pub offset: i64,
    /// What is wrong with it.
    pub why: &'static str,
}

const SEQUENCE: [u8; 4] = [0; 4];

/// Far later than any record, so that adding lengths of windows does not overflow.
const TIME_MAX: Timestamp = Timestamp::MAX / 8;

impl TableSpec {
    /// The table's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The changelog topic. Its partition is the task's.
    pub fn changelog(&self) -> &Arc<str> {
        &self.changelog
    }

    /// The name under which its store has it. With a ttl the entries are different, so the name is
    /// too: no table's name contains a slash.
    pub fn store_name(&self) -> Arc<str> {
        match self.ttl {
            Some(_) => format!("{}/ttl", self.name).into(),
            None => Arc::clone(&self.name),
        }
    }

    /// Whether it has a ttl. In that case its [index entries](Self::is_index) depend on when the
    /// table was restored.
    pub fn expires(&self) -> bool {
        self.ttl.is_some()
    }

    /// Returns the store key of a row of a table without windows.
    pub fn store_key(&self, key: &[u8]) -> Vec<u8> {
        match self.ttl {
            Some(_) => row_key(key),
            None => key.to_vec(),
        }
    }

    /// Appends the store entries of a changelog record.
    pub fn restore(
        &self,
        record: &RawRecord<'_>,
        entries: &mut Entries,
    ) -> Result<(), RestoreError> {
        let key = record.key.ok_or_else(|| self.broken(record, "its key is null"))?;
        // −1 is Kafka's "no timestamp".
        if record.value.is_some() && !(-1..=TIME_MAX).contains(&record.timestamp) {
            return Err(self.broken(record, "its timestamp is outside of the valid range"));
        }
        let timestamp = record.timestamp.to_be_bytes();
        let parts = record.value.map(|value| [&timestamp[..], value]);
        let value = parts.as_ref().map(|parts| &parts[..]);
        let too_short = || self.broken(record, "its key is too short for a window");
        match self.layout {
            Layout::KeyValue | Layout::Ordered if self.ttl.is_some() => {
                if value.is_some() {
                    let at = record.timestamp.max(0).to_be_bytes();
                    entries.push_parts(&[&[BY_TIME], &at, key], Some(&[]));
                }
                entries.push_parts(&[&[BY_KEY], key], value);
            }
            Layout::KeyValue | Layout::Ordered | Layout::Retries => {
                entries.push_parts(&[key], value)
            }
            Layout::Window => {
                let (key, start) = window_and_key(key).ok_or_else(too_short)?;
                self.check_times(record, start)?;
                entries.push_parts(&[start, key], value);
            }
            Layout::Keyed(suffix) => {
                let split = key.len().checked_sub(suffix).ok_or_else(too_short)?;
                let (of_key, suffix) = key.split_at(split);
                self.check_times(record, suffix)?;
                let found = value.map(|_| &[][..]);
                entries.push_parts(&[&[BY_TIME], suffix, of_key], found);
                entries.push_parts(&[&[BY_KEY], &length(of_key), key], value);
            }
        }
        Ok(())
    }

    /// Checks a suffix, which has one time, or the end and the start of a session.
    fn check_times(&self, record: &RawRecord<'_>, suffix: &[u8]) -> Result<(), RestoreError> {
        let (times, _) = suffix.as_chunks::<8>();
        let mut latest = TIME_MAX;
        for time in times {
            let time = i64::from_be_bytes(*time);
            if !(0..=latest).contains(&time) {
                return Err(self.broken(record, "its key has a time outside of the valid range"));
            }
            latest = time;
        }
        Ok(())
    }

    /// Returns the changelog key of a store entry.
    pub fn changelog_key(&self, store_key: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(store_key.len() + 12);
        self.write_changelog_key(store_key, &mut key);
        key
    }

    /// Whether a store key is only an index to another one, which no changelog has.
    pub fn is_index(&self, store_key: &[u8]) -> bool {
        let has_index = self.ttl.is_some() || matches!(self.layout, Layout::Keyed(_));
        has_index && store_key.first() == Some(&BY_TIME)
    }

    /// Whether its entries are often read in ranges.
    pub(crate) fn is_ordered(&self) -> bool {
        let is_ranged = matches!(self.layout, Layout::Keyed(_) | Layout::Ordered | Layout::Retries);
        self.is_ranged || self.ttl.is_some() || is_ranged
    }

    fn broken(&self, record: &RawRecord<'_>, why: &'static str) -> RestoreError {
        let table = Arc::clone(&self.name);
        let changelog = Arc::clone(&self.changelog);
        RestoreError { table, changelog, offset: record.offset, why }
    }

    /// Appends the changelog key of a store key.
    pub(crate) fn write_changelog_key(&self, store_key: &[u8], out: &mut Vec<u8>) {
        match (self.layout, store_key.split_first_chunk::<8>()) {
            (Layout::Window, Some((start, key))) => {
                out.extend_from_slice(key);
                out.extend_from_slice(start);
                out.extend_from_slice(&SEQUENCE);
            }
            (Layout::Keyed(_), _) => {
                out.extend_from_slice(store_key.get(KEY_AT..).unwrap_or_default());
            }
            _ if self.ttl.is_some() => {
                out.extend_from_slice(store_key.get(1..).unwrap_or_default());
            }
            _ => out.extend_from_slice(store_key),
        }
    }
}

/// Returns where the entries of `time` and later begin, in the order of time.
///
/// Deletion of old entries begins there and not at the first entry, because entries deleted since
/// the last commit are still in the overlay and the store, and there may be very many.
pub(crate) fn since(time: Timestamp) -> Vec<u8> {
    [&[BY_TIME], &time.max(0).to_be_bytes()[..]].concat()
}

/// The store key of a row of a table with a ttl.
pub(crate) fn row_key(key: &[u8]) -> Vec<u8> {
    [&[BY_KEY], key].concat()
}

/// The index entry that says when to check such a row.
pub(crate) fn look_at(time: Timestamp, key: &[u8]) -> Vec<u8> {
    [&[BY_TIME], &time.max(0).to_be_bytes()[..], key].concat()
}

/// Returns when to check, and which key.
pub(crate) fn time_and_key(look_at: &[u8]) -> (Timestamp, &[u8]) {
    let rest = look_at.get(1..).unwrap_or_default();
    match rest.split_first_chunk::<8>() {
        Some((time, key)) => (i64::from_be_bytes(*time), key),
        None => (0, rest),
    }
}

/// Returns the by-time store key of an entry in [`Layout::Keyed`].
pub(crate) fn by_time(by_key: &[u8], suffix: usize) -> Vec<u8> {
    let (key, suffix) = key_and_suffix(by_key, suffix);
    [&[BY_TIME], suffix, key].concat()
}

/// Returns the by-key store key of an entry in [`Layout::Keyed`] from its by-time one.
pub(crate) fn by_key(by_time: &[u8], suffix: usize) -> Vec<u8> {
    let rest = by_time.get(1..).unwrap_or_default();
    let (suffix, key) = rest.split_at(rest.len().min(suffix));
    [&[BY_KEY], &length(key)[..], key, suffix].concat()
}

/// Splits the by-key store key of an entry in [`Layout::Keyed`].
pub(crate) fn key_and_suffix(by_key: &[u8], suffix: usize) -> (&[u8], &[u8]) {
    let rest = by_key.get(KEY_AT..).unwrap_or_default();
    rest.split_at(rest.len().saturating_sub(suffix))
}

/// Appends the prefix of a key's entries in [`Layout::Keyed`], which no other entries have.
/// `write_key` appends the key.
pub(crate) fn write_prefix<E>(
    out: &mut Vec<u8>,
    write_key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.push(BY_KEY);
    let length_at = out.len();
    out.extend_from_slice(&[0; KEY_AT - 1]);
    let key_at = out.len();
    write_key(out)?;
    let length = length(&out[key_at..]);
    out[length_at..key_at].copy_from_slice(&length);
    Ok(())
}

/// The prefix of a key's entries in [`Layout::Keyed`].
pub(crate) fn prefix(key: &[u8]) -> Vec<u8> {
    [&[BY_KEY], &length(key)[..], key].concat()
}

fn length(key: &[u8]) -> [u8; KEY_AT - 1] {
    (key.len() as u32).to_be_bytes()
}

/// The first key after all those that begin with `prefix`; `None` if there can be no such key.
pub(crate) fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Splits a window's changelog key into the key and the window's start.
fn window_and_key(changelog_key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, _sequence) = changelog_key.split_last_chunk::<4>()?;
    let (key, start) = rest.split_last_chunk::<8>()?;
    Some((key, start))
}

/// Splits a store value into timestamp and value. A value that is too short for a timestamp reads
/// as timestamp 0; we never write one.
pub(crate) fn unstamped(stored: &[u8]) -> (Timestamp, &[u8]) {
    match stored.split_first_chunk::<8>() {
        Some((timestamp, value)) => (i64::from_be_bytes(*timestamp), value),
        None => (0, stored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(layout: Layout) -> TableSpec {
        let name = "sales".into();
        let changelog = "shop-sales-changelog".into();
        TableSpec {
            name,
            changelog,
            layout,
            is_ranged: false,
            ttl: None,
            terms: StoredFormat::default(),
        }
    }

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> RawRecord<'a> {
        RawRecord { offset: 7, timestamp: 258, key, value }
    }

    #[test]
    fn window_keys_are_kafka_streams_bytes_in_the_changelog_and_start_first_in_the_store() {
        let spec = spec(Layout::Window);
        let store_key = [&60_000_i64.to_be_bytes()[..], b"books"].concat();
        let mut changelog_key = Vec::new();
        spec.write_changelog_key(&store_key, &mut changelog_key);
        let expected = [&b"books"[..], &[0, 0, 0, 0, 0, 0, 0xea, 0x60], &[0; 4]].concat();
        assert_eq!(changelog_key, expected);
        let restored = restored(&spec, &record(Some(&changelog_key), Some(b"v"))).expect("entry");
        assert_eq!(restored[0].0, store_key);
        assert_eq!(restored[0].1.as_deref(), Some(&[0, 0, 0, 0, 0, 0, 1, 2, b'v'][..]));
    }

    #[test]
    fn keyed_entries_are_found_by_key_and_by_time() {
        let spec = spec(Layout::Keyed(8));
        let store_key = [&[BY_KEY, 0, 0, 0, 5], &b"books"[..], &7_i64.to_be_bytes()].concat();
        let mut changelog_key = Vec::new();
        spec.write_changelog_key(&store_key, &mut changelog_key);
        assert_eq!(changelog_key, [&b"books"[..], &7_i64.to_be_bytes()].concat());
        let entries = restored(&spec, &record(Some(&changelog_key), Some(b"v"))).expect("entries");
        assert_eq!(entries[1].0, store_key);
        assert_eq!(entries[0].0, [&[BY_TIME], &7_i64.to_be_bytes()[..], b"books"].concat());
        assert!(spec.is_index(&entries[0].0) && !spec.is_index(&store_key));
        assert_eq!(by_time(&store_key, 8), entries[0].0);
        assert_eq!(by_key(&entries[0].0, 8), store_key);
        assert_eq!(key_and_suffix(&store_key, 8), (&b"books"[..], &7_i64.to_be_bytes()[..]));
        let deleted = restored(&spec, &record(Some(&changelog_key), None)).expect("entries");
        assert!(deleted.iter().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn rows_that_expire_have_plain_keys_in_the_changelog_only() {
        let ttl = Some(Ttl { ms: 5, clock: 0 });
        let spec = TableSpec { ttl, ..spec(Layout::KeyValue) };
        let entries = restored(&spec, &record(Some(b"k"), Some(b"v"))).expect("entries");
        assert_eq!(entries[0].0, look_at(258, b"k"));
        assert_eq!(entries[1].0, spec.store_key(b"k"));
        assert_eq!(spec.changelog_key(&entries[1].0), b"k");
        assert!(spec.is_index(&entries[0].0) && !spec.is_index(&entries[1].0));
        assert_eq!(time_and_key(&entries[0].0), (258, &b"k"[..]));
        let deleted = restored(&spec, &record(Some(b"k"), None)).expect("entries");
        assert_eq!(deleted, [(row_key(b"k"), None)]);
    }

    #[test]
    fn the_entries_of_a_key_are_in_the_range_of_its_prefix() {
        let mut written = Vec::new();
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"user-1");
            Ok::<_, ()>(())
        };
        write_prefix(&mut written, write).expect("written");
        let prefix = prefix(b"user-1");
        assert_eq!(written, prefix);
        let end = end_of(&prefix).expect("something comes after them");
        let entry = |key: &[u8]| by_key(&[&[BY_TIME], &[255; 12][..], key].concat(), 12);
        assert!(prefix <= entry(b"user-1") && entry(b"user-1") < end);
        for other in [&b"user-10"[..], b"user-1\xff", b"user-2", b"user", b""] {
            assert!(!(prefix <= entry(other) && entry(other) < end), "{other:?}");
        }
        assert_eq!(end_of(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(end_of(&[255]), None);
    }

    type Restored = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn restored(spec: &TableSpec, record: &RawRecord<'_>) -> Result<Restored, RestoreError> {
        let mut entries = Entries::new();
        spec.restore(record, &mut entries)?;
        let owned = |(key, value): (&[u8], Option<&[u8]>)| (key.into(), value.map(Into::into));
        Ok(entries.iter().map(owned).collect())
    }

    #[test]
    fn tombstones_delete_and_foreign_records_are_refused_with_their_offset() {
        let plain = spec(Layout::KeyValue);
        assert_eq!(restored(&plain, &record(Some(b"k"), None)).unwrap()[0].1, None);
        assert!(restored(&plain, &record(None, None)).is_err());
        let error = restored(&spec(Layout::Window), &record(Some(b"short"), None)).unwrap_err();
        assert!(error.to_string().contains("offset 7 of the changelog shop-sales-changelog"));
    }

    #[test]
    fn times_outside_of_the_valid_range_are_refused_with_their_offset() {
        let times = |all: &[i64]| all.iter().flat_map(|time| time.to_be_bytes()).collect();
        let keyed = |all: &[i64], rest: &[u8]| [times(all), rest.to_vec()].concat();
        let refused = [
            (Layout::Window, keyed(&[i64::MAX], &[0; 4])),
            (Layout::Window, keyed(&[-1], &[0; 4])),
            (Layout::Keyed(12), keyed(&[i64::MAX - 1], &[0; 4])),
            (Layout::Keyed(12), keyed(&[i64::MIN], &[0; 4])),
            (Layout::Keyed(16), keyed(&[7, 8], &[])),
            (Layout::Keyed(16), keyed(&[7, -8], &[])),
        ];
        for (layout, key) in refused {
            let error = restored(&spec(layout), &record(Some(&key), None)).unwrap_err();
            assert!(error.to_string().contains("offset 7"), "{error}");
        }
        let accepted: Vec<u8> = times(&[8, 8]);
        assert!(restored(&spec(Layout::Keyed(16)), &record(Some(&accepted), None)).is_ok());
        let late = RawRecord { timestamp: i64::MAX, ..record(Some(b"k"), Some(b"v")) };
        assert!(restored(&spec(Layout::KeyValue), &late).is_err());
        let gone = RawRecord { value: None, ..late };
        assert!(restored(&spec(Layout::KeyValue), &gone).is_ok(), "nothing is read of it");
    }
}
