//! What is not on disk yet.
//!
//! It keeps only the names of what changed and takes the state when it writes: all at one moment,
//! under the lock, so that the disk always has the whole log as it was at some moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use streams_core::TopicPartition;

use crate::aborted::Aborted;
use crate::group::OffsetAndMetadata;
use crate::partition::{PartitionId, Segment};

/// Changes since the last write to disk.
#[derive(Debug, Default)]
pub(crate) struct UnflushedChanges {
    /// The number of changes so far. The disk has those up to some number.
    pub(crate) changes: u64,
    pub(crate) topics: BTreeSet<Arc<str>>,
    pub(crate) partitions: BTreeSet<PartitionId>,
    pub(crate) segments: Vec<(PartitionId, Segment)>,
    pub(crate) segment_bytes: usize,
    pub(crate) aborted: Vec<(PartitionId, Aborted)>,
    pub(crate) trims: BTreeMap<PartitionId, i64>,
    pub(crate) transactional: BTreeSet<Arc<str>>,
    pub(crate) offsets: BTreeMap<(Arc<str>, TopicPartition), OffsetAndMetadata>,
}

impl UnflushedChanges {
    pub(crate) fn topic(&mut self, name: &Arc<str>, partitions: &[PartitionId]) {
        self.changes += 1;
        self.topics.insert(name.clone());
        self.partitions.extend(partitions);
    }

    pub(crate) fn segment(&mut self, id: PartitionId, segment: Segment) {
        self.changes += 1;
        self.partitions.insert(id);
        self.segment_bytes += segment.chunk.weight();
        self.segments.push((id, segment));
    }

    pub(crate) fn marker(&mut self, id: PartitionId, aborted: Option<Aborted>) {
        self.changes += 1;
        self.partitions.insert(id);
        self.aborted.extend(aborted.map(|aborted| (id, aborted)));
    }

    pub(crate) fn trim(&mut self, id: PartitionId, start: i64) {
        self.changes += 1;
        self.partitions.insert(id);
        self.trims.insert(id, start);
        self.segments.retain(|(of, segment)| *of != id || segment.last() >= start);
    }

    pub(crate) fn transactional(&mut self, name: &Arc<str>) {
        self.changes += 1;
        self.transactional.insert(name.clone());
    }

    pub(crate) fn offset(
        &mut self,
        group: &Arc<str>,
        partition: &TopicPartition,
        committed: OffsetAndMetadata,
    ) {
        self.changes += 1;
        self.offsets.insert((group.clone(), partition.clone()), committed);
    }

    /// Takes all changes and starts again with none.
    pub(crate) fn take(&mut self) -> Self {
        let changes = self.changes;
        std::mem::replace(self, Self { changes, ..Self::default() })
    }
}
