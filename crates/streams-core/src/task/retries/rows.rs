//! Waiting records in bytes: three kinds of rows in one table per source.
//!
//! | key | value |
//! |---|---|
//! | 0, retry key, offset | when it is due, the number of attempts, the record |
//! | 1, due, offset, retry key | nothing: finds due records by time |
//! | 2, retry key | the offset of the first waiting record with the key; the others wait for it |
//!
//! A retry key says whose record it is: the reader of the source (the operators' name is empty),
//! and the record's key as it is in the topic. Numbers are big-endian, so the rows of a retry key
//! are in the order of offsets. A record that waits for an earlier one is due at 0, and has no row
//! of the second kind until it is the first.

use crate::record::{Headers, OwnedRecord, Timestamp};

/// The first byte of the keys of records.
pub(super) const RECORD: u8 = 0;
/// The first byte of the keys that find records by time.
pub(super) const DUE: u8 = 1;
/// The first byte of the keys that find the first record of a retry key.
const FIRST: u8 = 2;

/// Due as soon as it is the first of its retry key.
pub(super) const HELD: Timestamp = 0;

/// The first byte of a record's value: the version of its format.
const FORMAT: u8 = 1;
/// A length that means null.
const NULL: u32 = u32::MAX;

/// Whose record it is, in bytes: the reader's name with its length in front, then the key with its
/// own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::task) struct RetryKey(Box<[u8]>);

impl RetryKey {
    pub(super) fn new(reader: &str, key: Option<&[u8]>) -> Self {
        let mut bytes = Vec::with_capacity(reader.len() + key.map_or(0, <[u8]>::len) + 5);
        // Names have at most 249 characters.
        bytes.push(reader.len() as u8);
        bytes.extend_from_slice(reader.as_bytes());
        push(&mut bytes, key);
        Self(bytes.into())
    }

    /// The record's key. The inner `None` is the null key; the outer `None` means that the bytes
    /// are invalid.
    fn key(&self) -> Option<Option<&[u8]>> {
        let (length, rest) = self.0.split_first()?;
        let mut rest = rest.get(usize::from(*length)..)?;
        let key = pop(&mut rest)?;
        rest.is_empty().then_some(key)
    }

    /// The reader's name.
    pub(super) fn reader(&self) -> &str {
        let parts = self.0.split_first();
        let name = parts.and_then(|(length, rest)| rest.get(..usize::from(*length)));
        std::str::from_utf8(name.unwrap_or_default()).unwrap_or_default()
    }

    /// Whether other records can wait for one: not if its key is null.
    pub(super) fn can_hold(&self) -> bool {
        matches!(self.key(), Some(Some(_)))
    }

    /// The key of a record's row.
    pub(super) fn record(&self, offset: i64) -> Vec<u8> {
        [&[RECORD], &*self.0, &offset.to_be_bytes()].concat()
    }

    /// The key of the row that finds a record by time.
    pub(super) fn due(&self, due: Timestamp, offset: i64) -> Vec<u8> {
        [&[DUE], &due.to_be_bytes()[..], &offset.to_be_bytes(), &self.0].concat()
    }

    /// The key of the row that has the first record of the retry key.
    pub(super) fn first(&self) -> Vec<u8> {
        [&[FIRST], &*self.0].concat()
    }
}

/// Splits the key of a record's row into its retry key and its offset.
pub(super) fn place_and_offset(key: &[u8]) -> Option<(RetryKey, i64)> {
    let (place, offset) = key.strip_prefix(&[RECORD])?.split_last_chunk::<8>()?;
    let place = RetryKey(place.into());
    place.key()?;
    Some((place, i64::from_be_bytes(*offset)))
}

/// Splits the key of a row that finds a record by time.
pub(super) fn due_and_place(key: &[u8]) -> Option<(Timestamp, i64, RetryKey)> {
    let (due, rest) = key.strip_prefix(&[DUE])?.split_first_chunk::<8>()?;
    let (offset, place) = rest.split_first_chunk::<8>()?;
    let place = RetryKey(place.into());
    place.key()?;
    Some((i64::from_be_bytes(*due), i64::from_be_bytes(*offset), place))
}

/// A record that waits.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::task) struct Waiting {
    pub(super) place: RetryKey,
    /// When it is retried; [`HELD`] if it waits for an earlier record.
    pub(super) due: Timestamp,
    /// The number of attempts so far.
    pub(super) attempts: u32,
    pub(super) record: OwnedRecord,
}

impl Waiting {
    pub(in crate::task) fn record(&self) -> &OwnedRecord {
        &self.record
    }

    /// The value of its row, with the date in front, as in all tables.
    pub(super) fn stored(&self, at: Timestamp) -> Vec<u8> {
        let OwnedRecord { timestamp, value, headers, .. } = &self.record;
        let mut out = at.to_be_bytes().to_vec();
        out.push(FORMAT);
        out.extend_from_slice(&self.due.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(&timestamp.to_be_bytes());
        push(&mut out, value.as_deref());
        for (name, value) in headers.iter() {
            push(&mut out, Some(name.as_bytes()));
            push(&mut out, value);
        }
        out
    }

    /// Reads a row back; `None` if it is invalid.
    pub(super) fn read(place: RetryKey, offset: i64, value: &[u8]) -> Option<Self> {
        let (due, mut rest) = due(value)?;
        let attempts = u32::from_be_bytes(chunk(&mut rest)?);
        let timestamp = i64::from_be_bytes(chunk(&mut rest)?);
        let value = pop(&mut rest)?.map(Into::into);
        let mut headers = Headers::new();
        while !rest.is_empty() {
            let name = std::str::from_utf8(pop(&mut rest)??).ok()?;
            headers.push(name, pop(&mut rest)?);
        }
        let key = place.key()?.map(Into::into);
        let record = OwnedRecord { offset, timestamp, key, value, headers };
        Some(Self { place, due, attempts, record })
    }
}

/// When a record is due, from its row's value, and the rest of the value.
pub(super) fn due(value: &[u8]) -> Option<(Timestamp, &[u8])> {
    let mut rest = value.strip_prefix(&[FORMAT])?;
    let due = i64::from_be_bytes(chunk(&mut rest)?);
    Some((due, rest))
}

/// Appends bytes with their length in front.
fn push(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    // Longer values fit into no changelog, and are refused there.
    let length = bytes.map_or(NULL, |bytes| u32::try_from(bytes.len()).unwrap_or(NULL - 1));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// Removes what [`push`] wrote from the front; `None` if it is something else.
fn pop<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = u32::from_be_bytes(chunk(rest)?);
    if length == NULL {
        return Some(None);
    }
    let (bytes, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    Some(Some(bytes))
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiting(reader: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Waiting {
        let mut headers = Headers::new();
        headers.push("name", Some(b"value"));
        headers.push("", None);
        let key = key.map(Into::into);
        let value = value.map(Into::into);
        let record = OwnedRecord { offset: 7, timestamp: -1, key, value, headers };
        let place = RetryKey::new(reader, record.key.as_deref());
        Waiting { place, due: 258, attempts: 3, record }
    }

    #[test]
    fn a_record_is_read_back_unchanged() {
        for (key, value) in
            [(None, Some(&b"v"[..])), (Some(&b""[..]), None), (Some(b"k"), Some(b""))]
        {
            let one = waiting("agent", key, value);
            let stored = one.stored(9);
            let (place, offset) = place_and_offset(&one.place.record(7)).expect("a record's key");
            assert_eq!((&place, offset, place.can_hold()), (&one.place, 7, key.is_some()));
            assert_eq!(place.reader(), "agent");
            assert_eq!(Waiting::read(place, offset, &stored[8..]), Some(one.clone()));
            let found = due_and_place(&one.place.due(258, 7)).expect("a key of what is due");
            assert_eq!(found, (258, 7, one.place));
        }
    }

    #[test]
    fn the_rows_of_a_retry_key_are_adjacent_in_the_order_of_offsets() {
        let keys = [Some(&b"a"[..]), Some(b"a\0"), Some(b"b"), Some(b""), None];
        let places = ["", "agent"].map(|reader| keys.map(|key| RetryKey::new(reader, key)));
        let offsets = [0, 1, 255, 256, 1 << 40];
        let mut rows: Vec<_> = places
            .iter()
            .flatten()
            .flat_map(|place| offsets.map(|offset| place.record(offset)))
            .collect();
        rows.sort();
        for five in rows.chunks(offsets.len()) {
            let read = five.iter().map(|key| place_and_offset(key).expect("a record's key"));
            let (of, found): (Vec<_>, Vec<_>) = read.unzip();
            assert!(of.windows(2).all(|two| two[0] == two[1]), "{of:?}");
            assert_eq!(found, offsets);
        }
    }

    proptest! {
        #[test]
        fn reading_any_bytes_does_not_panic(bytes in prop::collection::vec(0..4_u8, 0..64)) {
            let _ = place_and_offset(&bytes);
            let _ = due_and_place(&bytes);
            let place = RetryKey::new("", Some(b"k"));
            if let Some(read) = Waiting::read(place, 7, &bytes) {
                prop_assert_eq!(&read.stored(0)[8..], &bytes[..]);
            }
        }
    }
}
