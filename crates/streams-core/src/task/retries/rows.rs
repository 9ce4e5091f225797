//! What waits to be tried again, in bytes: three kinds of rows in one table of a source.
//!
//! | key | value |
//! |---|---|
//! | 0, place, offset | when it is due, how often it was tried, the record |
//! | 1, due, offset, place | nothing: finds by time what is due |
//! | 2, place | the offset of the first record of the place that waits: the others wait behind it |
//!
//! A place is whose record it is: a reader of the source (the operators' name is empty), and the
//! record's key as it is in the topic. Numbers are big-endian, so the rows of a place are in the
//! order of offsets. A record that waits behind another one of its place is due at 0, and has no
//! row of the second kind before it is the first.

use crate::record::{Headers, OwnedRecord, Timestamp};

/// The first byte of the keys of records.
pub(super) const RECORD: u8 = 0;
/// The first byte of the keys that find them by time.
pub(super) const DUE: u8 = 1;
/// The first byte of the keys that find the first record of a place.
const FIRST: u8 = 2;

/// Due as soon as it is the first of its place.
pub(super) const HELD: Timestamp = 0;

/// What values of records begin with: how they are written.
const FORMAT: u8 = 1;
/// A length that stands for null.
const NULL: u32 = u32::MAX;

/// Whose record it is, in bytes: the reader's name with its length before it, then the key with its
/// own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::task) struct RetryKey(Box<[u8]>);

impl RetryKey {
    pub(super) fn new(reader: &str, key: Option<&[u8]>) -> Self {
        let mut bytes = Vec::with_capacity(reader.len() + key.map_or(0, <[u8]>::len) + 5);
        // Names have 249 characters at the most.
        bytes.push(reader.len() as u8);
        bytes.extend_from_slice(reader.as_bytes());
        push(&mut bytes, key);
        Self(bytes.into())
    }

    /// The record's key; `None` inside: null. `None` outside: the bytes are no place.
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

    /// Whether others can wait behind a record: not behind one with a null key.
    pub(super) fn can_hold(&self) -> bool {
        matches!(self.key(), Some(Some(_)))
    }

    /// The key of the row of a record.
    pub(super) fn record(&self, offset: i64) -> Vec<u8> {
        [&[RECORD], &*self.0, &offset.to_be_bytes()].concat()
    }

    /// The key of the row that finds a record by time.
    pub(super) fn due(&self, due: Timestamp, offset: i64) -> Vec<u8> {
        [&[DUE], &due.to_be_bytes()[..], &offset.to_be_bytes(), &self.0].concat()
    }

    /// The key of the row that tells the first record of the place.
    pub(super) fn first(&self) -> Vec<u8> {
        [&[FIRST], &*self.0].concat()
    }
}

/// Takes the key of a record's row apart: its place and its offset.
pub(super) fn place_and_offset(key: &[u8]) -> Option<(RetryKey, i64)> {
    let (place, offset) = key.strip_prefix(&[RECORD])?.split_last_chunk::<8>()?;
    let place = RetryKey(place.into());
    place.key()?;
    Some((place, i64::from_be_bytes(*offset)))
}

/// Takes the key of a row that finds a record by time apart.
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
    /// When it is tried again; [`HELD`] if it waits behind another one.
    pub(super) due: Timestamp,
    /// How often it was tried.
    pub(super) attempts: u32,
    pub(super) record: OwnedRecord,
}

impl Waiting {
    pub(in crate::task) fn record(&self) -> &OwnedRecord {
        &self.record
    }

    /// The value of its row, with the date in front that tables have there.
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

    /// Reads a row back; `None` if it is none.
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

/// When a record is due, of its row's value, and what comes behind that.
pub(super) fn due(value: &[u8]) -> Option<(Timestamp, &[u8])> {
    let mut rest = value.strip_prefix(&[FORMAT])?;
    let due = i64::from_be_bytes(chunk(&mut rest)?);
    Some((due, rest))
}

/// Appends bytes with their length before them.
fn push(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    // What is longer fits no changelog, and is refused there.
    let length = bytes.map_or(NULL, |bytes| u32::try_from(bytes.len()).unwrap_or(NULL - 1));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// Takes what [`push`] wrote away from the front; `None` if it is something else.
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
    fn a_record_is_read_back_as_it_was() {
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
    fn the_rows_of_a_place_are_together_in_the_order_of_offsets() {
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
        fn any_bytes_are_a_row_or_none(bytes in prop::collection::vec(0..4_u8, 0..64)) {
            let _ = place_and_offset(&bytes);
            let _ = due_and_place(&bytes);
            let place = RetryKey::new("", Some(b"k"));
            if let Some(read) = Waiting::read(place, 7, &bytes) {
                prop_assert_eq!(&read.stored(0)[8..], &bytes[..]);
            }
        }
    }
}
