//! A membership with faults. It is also stricter than a log that is kind: partitions that are given
//! up twice are an error, as librdkafka has it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{
    CommittedOffset, ErrorKind, Fetcher, Group, GroupMetadata, Member, MemberEvent, OffsetCommit,
    Result, TransportError,
};
use streams_core::TopicPartition;

use super::reading::FaultyFetcher;
use super::{Call, Faults};

pub(super) struct FaultyMember {
    member: Box<dyn Member>,
    faults: Faults,
    assigned: BTreeSet<TopicPartition>,
}

impl FaultyMember {
    pub(super) fn new(member: Box<dyn Member>, faults: Faults) -> Self {
        Self { member, faults, assigned: BTreeSet::new() }
    }
}

impl Member for FaultyMember {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<MemberEvent>> {
        let witness = self.faults.witness();
        self.faults.call(Call::PollGroup, || {
            let events = self.member.poll(timeout)?;
            if let Some(witness) = &witness {
                witness.heard(&events);
            }
            Ok(events)
        })
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.faults.call(Call::Assign, || self.member.assign(partitions))?;
        self.assigned.extend(partitions.iter().cloned());
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.faults.call(Call::Unassign, || self.member.unassign(partitions))?;
        for partition in partitions {
            if !self.assigned.remove(partition) {
                let context = format!("unassigning {partition}");
                return Err(TransportError::new(ErrorKind::Fatal, context, "it is not assigned"));
            }
        }
        Ok(())
    }

    fn fetcher(&self) -> Result<Box<dyn Fetcher>> {
        let (fetcher, faults) = (self.member.fetcher()?, self.faults.clone());
        Ok(Box::new(FaultyFetcher { fetcher, faults }))
    }

    fn group(&self) -> Arc<dyn Group> {
        Arc::new(FaultyGroup { group: self.member.group(), faults: self.faults.clone() })
    }

    fn leave(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Leave, || self.member.leave(timeout))
    }
}

struct FaultyGroup {
    group: Arc<dyn Group>,
    faults: Faults,
}

impl Group for FaultyGroup {
    fn metadata(&self) -> Result<GroupMetadata> {
        self.faults.call(Call::Metadata, || self.group.metadata())
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>> {
        let look_up = || self.group.committed(partitions, timeout);
        let found = self.faults.call(Call::CommittedOffsets, look_up)?;
        if let Some(witness) = self.faults.witness() {
            witness.looked_up(partitions, &found);
        }
        Ok(found)
    }

    fn commit(&self, offsets: &[OffsetCommit], timeout: Duration) -> Result<()> {
        self.faults.call(Call::CommitOffsets, || self.group.commit(offsets, timeout))
    }
}
