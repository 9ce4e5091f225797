//! Records that were fetched, where they are in memory.

use std::sync::{Arc, Mutex, PoisonError};

use crate::record::FetchedRecord;

/// Records of one partition, decoded only so far that each can be found.
pub(crate) struct FetchedRecords {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<RecordEntry>,
    pool: Arc<BufferPool>,
}

/// Memory of records that are gone, for the next ones: fresh memory costs the system more than what
/// is done with it.
#[derive(Default)]
pub(crate) struct BufferPool(Mutex<Vec<(Vec<u8>, Vec<RecordEntry>)>>);

/// How many buffers are kept.
const BUFFERS_MAX: usize = 4;
/// Larger ones are not kept.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// A buffer is not used again for much less than it can hold: what waits has a bound.
const OVERSIZE_MAX: usize = 8;

impl FetchedRecords {
    /// None yet, in memory for what `compressed` bytes may become.
    pub(super) fn new(pool: &Arc<BufferPool>, compressed: usize) -> Self {
        let (bytes, entries) = pool.take(compressed);
        Self { bytes, entries, pool: Arc::clone(pool) }
    }
}

impl BufferPool {
    /// Memory for what `compressed` bytes may become.
    fn take(&self, compressed: usize) -> (Vec<u8>, Vec<RecordEntry>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(bytes, _): &(Vec<u8>, _)| bytes.capacity() / OVERSIZE_MAX <= compressed;
        let found = kept.iter().rposition(fits);
        found.map(|index| kept.swap_remove(index)).unwrap_or_default()
    }

    fn keep(&self, mut bytes: Vec<u8>, mut entries: Vec<RecordEntry>) {
        if bytes.capacity() == 0 || bytes.capacity() > BUFFER_BYTES_MAX {
            return;
        }
        bytes.clear();
        entries.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BUFFERS_MAX {
            kept.push((bytes, entries));
        }
    }
}

impl Drop for FetchedRecords {
    fn drop(&mut self) {
        self.pool.keep(std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
    }
}

pub(super) struct RecordEntry {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: ByteSpan,
    pub(super) value: ByteSpan,
    /// Where its headers begin.
    pub(super) headers: u32,
}

/// A part of the bytes.
#[derive(Clone, Copy)]
pub(super) struct ByteSpan {
    start: u32,
    /// [`NULL`] for none.
    length: u32,
}

const NULL: u32 = u32::MAX;

impl FetchedRecords {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that were fetched, decompressed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<RecordEntry>()
    }

    #[inline]
    pub(crate) fn record(&self, index: usize) -> FetchedRecord<'_> {
        let entry = &self.entries[index];
        FetchedRecord {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: self.part(entry.key),
            value: self.part(entry.value),
        }
    }

    #[inline]
    fn part(&self, span: ByteSpan) -> Option<&[u8]> {
        let start = span.start as usize;
        (span.length != NULL).then(|| &self.bytes[start..start + span.length as usize])
    }

    /// Hands each header of a record to `visit`.
    pub(crate) fn headers(&self, index: usize, visit: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let at = self.entries[index].headers as usize;
        let mut input = VarintReader { bytes: &self.bytes, at };
        // They were read once already, when the record was found.
        let mut all = || {
            for _ in 0..input.varint()? {
                let name = input.span()?;
                let value = input.span()?;
                let name = self.part(name).unwrap_or_default();
                visit(&String::from_utf8_lossy(name), self.part(value));
            }
            Some(())
        };
        all();
    }
}

/// Reads what records are made of.
pub(super) struct VarintReader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl VarintReader<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn varint(&mut self) -> Option<i64> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x7f);
        if first >= 0x80 {
            let mut shift = 7;
            loop {
                let byte = self.byte()?;
                if shift > 63 {
                    return None;
                }
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
        }
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Bytes with their length before them; −1 is null.
    pub(super) fn span(&mut self) -> Option<ByteSpan> {
        let length = self.varint()?;
        let start = self.at as u32;
        if length < 0 {
            return Some(ByteSpan { start, length: NULL });
        }
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        self.at = end;
        Some(ByteSpan { start, length: length as u32 })
    }
}
