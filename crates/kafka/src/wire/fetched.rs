//! Records that were fetched, where they are in memory.

use std::sync::{Arc, Mutex, PoisonError};

use streams_core::{Headers, RawRecord, Timestamp};

/// Records of one partition, decoded only so far that each can be found.
pub(crate) struct Records {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    spare: Arc<Spare>,
}

/// Memory of records that are gone, for the next ones: fresh memory costs the system more than what
/// is done with it.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<(Vec<u8>, Vec<Entry>)>>);

/// So many pieces of memory are kept, and none larger than this.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = 4 << 20;
/// Memory is not used again for so much less than it is: what waits has a bound.
const SPARE_TIMES_MAX: usize = 8;

impl Records {
    /// None yet, in memory for what `compressed` bytes may become.
    pub(super) fn new(spare: &Arc<Spare>, compressed: usize) -> Self {
        let (bytes, entries) = spare.take(compressed);
        Self { bytes, entries, spare: Arc::clone(spare) }
    }
}

impl Spare {
    /// Memory for what `compressed` bytes may become.
    fn take(&self, compressed: usize) -> (Vec<u8>, Vec<Entry>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(bytes, _): &(Vec<u8>, _)| bytes.capacity() / SPARE_TIMES_MAX <= compressed;
        let found = kept.iter().rposition(fits);
        found.map(|index| kept.swap_remove(index)).unwrap_or_default()
    }

    fn keep(&self, mut bytes: Vec<u8>, mut entries: Vec<Entry>) {
        if bytes.capacity() == 0 || bytes.capacity() > SPARE_BYTES_MAX {
            return;
        }
        bytes.clear();
        entries.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SPARES_MAX {
            kept.push((bytes, entries));
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.spare.keep(std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
    }
}

pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) timestamp: Timestamp,
    pub(super) key: Span,
    pub(super) value: Span,
    /// Where its headers begin.
    pub(super) headers: u32,
}

/// A part of the bytes.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u32,
    /// [`NULL`] for none.
    length: u32,
}

const NULL: u32 = u32::MAX;

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that were fetched, decompressed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(crate) fn record(&self, index: usize) -> RawRecord<'_> {
        let entry = &self.entries[index];
        RawRecord {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: self.part(entry.key),
            value: self.part(entry.value),
        }
    }

    fn part(&self, span: Span) -> Option<&[u8]> {
        let start = span.start as usize;
        (span.length != NULL).then(|| &self.bytes[start..start + span.length as usize])
    }

    pub(crate) fn headers(&self, index: usize, headers: &mut Headers) {
        let mut input = Varints { bytes: &self.bytes, at: self.entries[index].headers as usize };
        // They were read once already, when the record was found.
        let mut all = || {
            for _ in 0..input.varint()? {
                let (name, value) = (input.span()?, input.span()?);
                let name = self.part(name).unwrap_or_default();
                headers.push(&String::from_utf8_lossy(name), self.part(value));
            }
            Some(())
        };
        all();
    }
}

/// Reads what records are made of.
pub(super) struct Varints<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Varints<'_> {
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

    /// Bytes behind their length; −1 is none.
    pub(super) fn span(&mut self) -> Option<Span> {
        let length = self.varint()?;
        let start = self.at as u32;
        if length < 0 {
            return Some(Span { start, length: NULL });
        }
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        self.at = end;
        Some(Span { start, length: length as u32 })
    }
}
