//! Some of the records that one response brought.

use std::ops::Range;
use std::sync::Arc;

use crate::partition::PartitionId;
use crate::record::FetchedRecord;
use crate::records::FetchedRecords;

/// Records of one partition in offset order, where one response brought them. Offsets may have gaps
/// (compaction, markers of transactions).
pub struct FetchedBatch {
    pub(super) partition: PartitionId,
    pub(super) records: Arc<FetchedRecords>,
    pub(super) range: Range<usize>,
}

impl FetchedBatch {
    /// The partition.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// How many records there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Record `index`, which must be below [`len`](Self::len).
    #[inline]
    pub fn record(&self, index: usize) -> FetchedRecord<'_> {
        self.records.record(self.range.start + index)
    }

    /// Hands each header of record `index` to `visit`: its name, and its value or null.
    pub fn headers(&self, index: usize, visit: &mut dyn FnMut(&str, Option<&[u8]>)) {
        self.records.headers(self.range.start + index, visit);
    }

    /// About how much memory it keeps: its part of the response, which stays as a whole until the
    /// last part is gone.
    pub fn bytes(&self) -> usize {
        self.records.size() * self.range.len() / self.records.len().max(1)
    }
}
