//! Some of the records that one answer brought.

use std::ops::Range;
use std::sync::Arc;

use streams_core::{Headers, RawRecord, RecordBatch};

use crate::wire::Records;

pub(super) struct PulledBatch {
    pub(super) records: Arc<Records>,
    pub(super) range: Range<usize>,
}

impl RecordBatch for PulledBatch {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn record(&self, index: usize) -> RawRecord<'_> {
        self.records.record(self.range.start + index)
    }

    /// Its part of the answer, which stays as a whole until the last part is gone.
    fn bytes(&self) -> usize {
        self.records.size() * self.range.len() / self.records.len().max(1)
    }

    fn headers(&self, index: usize, headers: &mut Headers) {
        self.records.headers(self.range.start + index, headers);
    }
}
