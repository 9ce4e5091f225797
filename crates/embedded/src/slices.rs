//! What a fetch hands out: slices of shared chunks.

use std::sync::Arc;

use streams_core::{Headers, RawRecord, RecordBatch};

use crate::chunk::{Chunk, decode_headers};

/// Some records of a chunk.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) chunk: Arc<Chunk>,
    /// The offset that the chunk's records are counted from.
    pub(crate) base: i64,
    /// Index of its first record in the chunk.
    pub(crate) from: usize,
    /// Index after its last record.
    pub(crate) to: usize,
}

/// Slices of one partition in offset order.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    slices: Vec<Slice>,
    /// For each slice the number of records up to its end.
    ends: Vec<usize>,
}

impl Slices {
    pub(crate) fn push(&mut self, slice: Slice) {
        let end = self.len() + slice.to - slice.from;
        self.slices.push(slice);
        self.ends.push(end);
    }

    /// The slice and the index in its chunk of record `index`.
    fn find(&self, index: usize) -> (&Slice, usize) {
        let n = match self.ends.len() {
            1 => 0,
            _ => self.ends.partition_point(|end| *end <= index),
        };
        let slice = &self.slices[n];
        let before = if n == 0 { 0 } else { self.ends[n - 1] };
        (slice, slice.from + index - before)
    }
}

impl RecordBatch for Slices {
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn record(&self, index: usize) -> RawRecord<'_> {
        let (slice, index) = self.find(index);
        slice.chunk.record(slice.base, index)
    }

    fn headers(&self, index: usize, headers: &mut Headers) {
        let (slice, index) = self.find(index);
        decode_headers(slice.chunk.header_bytes(index), headers);
    }
}
