//! Chunks: records of one partition in one piece of memory, immutable once built.
//!
//! A producer builds a chunk outside any lock; appending it or fetching from it only clones an
//! `Arc`. Offsets are relative, because the base is known only when the chunk is appended.

use streams_core::{Headers, RawRecord, Timestamp};

/// Null, where a length is expected.
const NULL: i32 = -1;

/// Records with relative offsets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Key, value and headers of each record, one after another.
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<RecordSpan>,
    /// The latest timestamp of its records.
    pub(crate) latest: Timestamp,
    /// When it was appended, in Unix milliseconds. A compacted chunk has the latest date of the
    /// chunks it was made from.
    pub(crate) appended: Timestamp,
}

/// Where a record is in its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordSpan {
    pub(crate) timestamp: Timestamp,
    /// Its offset, counted from the chunk's base.
    pub(crate) delta: u32,
    pub(crate) start: u32,
    pub(crate) key: i32,
    pub(crate) value: i32,
    pub(crate) headers: u32,
}

impl RecordSpan {
    fn len(&self) -> usize {
        self.key.max(0) as usize + self.value.max(0) as usize + self.headers as usize
    }
}

/// A record to put into a chunk.
#[derive(Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Timestamp,
    /// As [`encode_headers`] writes them.
    pub(crate) headers: &'a [u8],
}

impl NewRecord<'_> {
    /// Of key, value and headers.
    pub(crate) fn len(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.len()
    }
}

impl Chunk {
    /// Appends a record; the caller keeps a chunk far below 2 GiB and its deltas ascending.
    pub(crate) fn push(&mut self, delta: u32, record: NewRecord<'_>) {
        let start = self.bytes.len() as u32;
        let [key, value] = [record.key, record.value].map(|part| match part {
            Some(bytes) => {
                self.bytes.extend_from_slice(bytes);
                bytes.len() as i32
            }
            None => NULL,
        });
        self.bytes.extend_from_slice(record.headers);
        let headers = record.headers.len() as u32;
        let timestamp = record.timestamp;
        self.latest = if self.entries.is_empty() { timestamp } else { self.latest.max(timestamp) };
        self.entries.push(RecordSpan { timestamp, delta, start, key, value, headers });
    }

    /// The offset of its last record, counted from the base.
    pub(crate) fn last_delta(&self) -> u32 {
        self.entries.last().map_or(0, |entry| entry.delta)
    }

    /// How much memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<RecordSpan>() + size_of::<Self>()
    }

    /// The index of the first record at or after `delta`.
    pub(crate) fn index_of(&self, delta: i64) -> usize {
        match self.entries.len() {
            // Without gaps, which is the common case, the delta is the index.
            len if self.last_delta() as usize + 1 == len => (delta.max(0) as usize).min(len),
            _ => self.entries.partition_point(|entry| i64::from(entry.delta) < delta),
        }
    }

    /// Record `index`, where offset 0 is `base`.
    pub(crate) fn record(&self, base: i64, index: usize) -> RawRecord<'_> {
        let entry = &self.entries[index];
        let key_start = entry.start as usize;
        let value_start = key_start + entry.key.max(0) as usize;
        let part = |start: usize, len: i32| {
            (len != NULL).then(|| &self.bytes[start..start + len as usize])
        };
        RawRecord {
            offset: base + i64::from(entry.delta),
            timestamp: entry.timestamp,
            key: part(key_start, entry.key),
            value: part(value_start, entry.value),
        }
    }

    /// The headers of record `index`, encoded.
    pub(crate) fn header_bytes(&self, index: usize) -> &[u8] {
        let entry = &self.entries[index];
        let end = entry.start as usize + entry.len();
        &self.bytes[end - entry.headers as usize..end]
    }

    /// Whether every entry lies within the bytes, in order: what was read from disk is checked
    /// before it is used.
    pub(crate) fn is_sound(&self) -> bool {
        let lengths = |e: &RecordSpan| e.key >= NULL && e.value >= NULL;
        let within = |e: &RecordSpan| e.start as usize + e.len() <= self.bytes.len();
        let ascending = self.entries.is_sorted_by(|a, b| a.delta < b.delta);
        !self.entries.is_empty()
            && ascending
            && self.entries.iter().all(|e| lengths(e) && within(e))
            && (0..self.entries.len()).all(|index| are_headers(self.header_bytes(index)))
    }
}

/// Writes each header as name length, name, value length (−1 for null), value.
pub(crate) fn encode_headers(headers: &Headers, out: &mut Vec<u8>) {
    for (name, value) in headers.iter() {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        let len = value.map_or(NULL, |value| value.len() as i32);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }
}

/// Reads what [`encode_headers`] wrote; stops at what it cannot have written.
pub(crate) fn decode_headers(bytes: &[u8], headers: &mut Headers) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((name, value, after)) = next_header(rest) else { return };
        headers.push(name, value);
        rest = after;
    }
}

/// Whether [`encode_headers`] can have written this.
fn are_headers(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((_, _, after)) = next_header(rest) else { return false };
        rest = after;
    }
    true
}

type Header<'a> = (&'a str, Option<&'a [u8]>, &'a [u8]);

fn next_header(bytes: &[u8]) -> Option<Header<'_>> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let name = std::str::from_utf8(name).ok()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let len = i32::from_le_bytes(*len);
    let (value, rest) = rest.split_at_checked(len.max(0) as usize)?;
    Some((name, (len != NULL).then_some(value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> NewRecord<'a> {
        NewRecord { key, value, timestamp: 7, headers: b"" }
    }

    #[test]
    fn records_come_back_with_null_and_empty_apart() {
        let mut chunk = Chunk::default();
        chunk.push(0, record(None, Some(b"")));
        chunk.push(5, record(Some(b""), None));
        chunk.push(9, record(Some(b"k"), Some(b"v")));
        let parts: Vec<_> = (0..3).map(|i| chunk.record(100, i)).collect();
        assert_eq!((parts[0].key, parts[0].value), (None, Some(&b""[..])));
        assert_eq!((parts[1].key, parts[1].value), (Some(&b""[..]), None));
        assert_eq!((parts[2].key, parts[2].value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(parts.iter().map(|p| p.offset).collect::<Vec<_>>(), [100, 105, 109]);
    }

    #[test]
    fn finds_records_across_gaps() {
        let mut chunk = Chunk::default();
        for delta in [0, 3, 4] {
            chunk.push(delta, record(None, None));
        }
        let found: Vec<_> = [-1, 0, 1, 3, 4, 5].map(|delta| chunk.index_of(delta)).into();
        assert_eq!(found, [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn headers_survive() {
        let mut headers = Headers::new();
        headers.push("a", Some(b"1"));
        headers.push("a", None);
        headers.push("", Some(b""));
        let mut bytes = Vec::new();
        encode_headers(&headers, &mut bytes);
        let mut back = Headers::new();
        decode_headers(&bytes, &mut back);
        assert_eq!(back, headers);
    }
}
