//! Committed offsets of a group, and those that open transactions hold.

use std::collections::{BTreeMap, BTreeSet};

use runtime::transport::{OffsetCommit, Result};
use streams_core::TopicPartition;

use crate::error::refused;
use crate::partition::ProducerId;

/// The most bytes of metadata that may be committed with an offset.
const METADATA_BYTES_MAX: usize = 4096;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetAndMetadata {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

impl From<&OffsetCommit> for OffsetAndMetadata {
    fn from(commit: &OffsetCommit) -> Self {
        Self { offset: commit.offset, metadata: commit.metadata.clone() }
    }
}

/// The offsets of a group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// The open transactions that have pending offsets of a partition.
    pending: BTreeMap<TopicPartition, BTreeSet<ProducerId>>,
}

impl Offsets {
    pub(crate) fn find(&self, partition: &TopicPartition) -> Option<&OffsetAndMetadata> {
        self.committed.get(partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &OffsetAndMetadata)> {
        self.committed.iter()
    }

    pub(crate) fn commit(&mut self, partition: TopicPartition, committed: OffsetAndMetadata) {
        self.committed.insert(partition, committed);
    }

    /// Marks these offsets as pending in an open transaction.
    pub(crate) fn pend(&mut self, producer: ProducerId, offsets: &[OffsetCommit]) {
        for offset in offsets {
            self.pending.entry(offset.partition.clone()).or_default().insert(producer);
        }
    }

    /// Whether no open transaction has a pending offset of this partition.
    pub(crate) fn is_stable(&self, partition: &TopicPartition) -> bool {
        !self.pending.contains_key(partition)
    }

    /// Records that a transaction with these pending offsets has ended.
    pub(crate) fn settle(
        &mut self,
        producer: ProducerId,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        commit: bool,
    ) {
        for (partition, committed) in offsets {
            if let Some(holders) = self.pending.get_mut(&partition) {
                holders.remove(&producer);
                if holders.is_empty() {
                    self.pending.remove(&partition);
                }
            }
            if commit {
                self.commit(partition, committed);
            }
        }
    }
}

/// Refuses metadata that is too long.
pub(crate) fn check_metadata_len(offsets: &[OffsetCommit]) -> Result<()> {
    match offsets.iter().find(|offset| offset.metadata.len() > METADATA_BYTES_MAX) {
        Some(offset) => {
            let partition = &offset.partition;
            let len = offset.metadata.len();
            let context = format!("commit an offset of {partition}");
            let why = format!("{len} bytes of metadata exceed the limit of {METADATA_BYTES_MAX}");
            Err(refused(context, why))
        }
        None => Ok(()),
    }
}
