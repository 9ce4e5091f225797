//! A membership with faults. It is also as strict as librdkafka: unassigning a partition twice is
//! an error.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{
    CommittedOffset, ErrorKind, Fetcher, Group, GroupMetadata, Member, MemberEvent, OffsetCommit,
    Result, TransportError,
};
use streams_core::TopicPartition;

use super::reading::FaultyFetcher;
use super::{Fault, Faults, TransportCall};

pub(super) struct FaultyMember {
    member: Box<dyn Member>,
    faults: Faults,
    assigned: BTreeSet<TopicPartition>,
    /// Lead partitions that were revoked and are not unassigned yet.
    asked_back: BTreeSet<TopicPartition>,
    /// Lead partitions whose loss has not been reported.
    untold: Vec<TopicPartition>,
    /// Events to report once that is settled.
    later: VecDeque<MemberEvent>,
}

impl FaultyMember {
    pub(super) fn new(member: Box<dyn Member>, faults: Faults) -> Self {
        Self {
            member,
            faults,
            assigned: BTreeSet::new(),
            asked_back: BTreeSet::new(),
            untold: Vec::new(),
            later: VecDeque::new(),
        }
    }

    /// The events to report now. A client that has lost everything may not report it and join
    /// again. If it gets the same partitions, the application never learns that it is a new member.
    fn tell(&mut self) -> Result<Vec<MemberEvent>> {
        let mut told = Vec::new();
        while let Some(event) = self.later.pop_front() {
            match event {
                MemberEvent::Assigned(leads) if is_same(&leads, &self.untold) => {
                    self.untold.clear();
                    told.push(MemberEvent::Assigned(Vec::new()));
                }
                event if !self.untold.is_empty() => {
                    self.later.push_front(event);
                    told.push(MemberEvent::Lost(std::mem::take(&mut self.untold)));
                    break;
                }
                // Lost partitions have to be unassigned first.
                MemberEvent::Assigned(leads)
                    if leads.iter().any(|lead| self.assigned.contains(lead)) =>
                {
                    self.later.push_front(MemberEvent::Assigned(leads));
                    break;
                }
                MemberEvent::Lost(leads) if self.is_kept_back() => {
                    self.join_again()?;
                    self.untold = leads;
                }
                event => told.push(event),
            }
        }
        Ok(told)
    }

    /// As in librdkafka, which does not join again until everything is unassigned.
    fn is_kept_back(&self) -> bool {
        self.asked_back.is_empty()
            && self.faults.fault(TransportCall::Lose) == Some(Fault::LostReply)
    }

    /// Whether the group has already assigned it again, which is not reported yet.
    fn is_coming(&self, partition: &TopicPartition) -> bool {
        self.later.iter().any(|event| match event {
            MemberEvent::Assigned(leads) => leads.contains(partition),
            MemberEvent::Revoked(_) | MemberEvent::Lost(_) => false,
        })
    }

    /// The inner member joins once its partitions are unassigned.
    fn join_again(&mut self) -> Result<()> {
        let all: Vec<_> = self.assigned.iter().cloned().collect();
        self.member.unassign(&all)?;
        self.member.assign(&all)
    }
}

fn is_same(some: &[TopicPartition], others: &[TopicPartition]) -> bool {
    some.len() == others.len() && some.iter().all(|one| others.contains(one))
}

impl Member for FaultyMember {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<MemberEvent>> {
        let witness = self.faults.witness();
        let events = self.faults.call(TransportCall::PollGroup, || {
            let events = self.member.poll(timeout)?;
            if let Some(witness) = &witness {
                witness.heard(&events);
            }
            Ok(events)
        })?;
        self.later.extend(events);
        let told = self.tell()?;
        for event in &told {
            if let MemberEvent::Revoked(leads) | MemberEvent::Lost(leads) = event {
                self.asked_back.extend(leads.iter().cloned());
            }
        }
        Ok(told)
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.faults.call(TransportCall::Assign, || self.member.assign(partitions))?;
        self.assigned.extend(partitions.iter().cloned());
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let gone: Vec<_> = partitions.iter().filter(|one| !self.is_coming(one)).cloned().collect();
        self.faults.call(TransportCall::Unassign, || self.member.unassign(&gone))?;
        for partition in partitions {
            self.asked_back.remove(partition);
            if !self.assigned.remove(partition) {
                let context = format!("unassigning {partition}");
                return Err(TransportError::new(ErrorKind::Fatal, context, "it is not assigned"));
            }
        }
        Ok(())
    }

    fn fetcher(&self) -> Result<Box<dyn Fetcher>> {
        let fetcher = self.member.fetcher()?;
        let faults = self.faults.clone();
        Ok(Box::new(FaultyFetcher::new(fetcher, faults)))
    }

    fn group(&self) -> Arc<dyn Group> {
        Arc::new(FaultyGroup { group: self.member.group(), faults: self.faults.clone() })
    }

    fn leave(&mut self, timeout: Duration) -> Result<()> {
        if !self.untold.is_empty() {
            self.later.push_front(MemberEvent::Lost(std::mem::take(&mut self.untold)));
        }
        self.faults.call(TransportCall::Leave, || self.member.leave(timeout))
    }
}

struct FaultyGroup {
    group: Arc<dyn Group>,
    faults: Faults,
}

impl Group for FaultyGroup {
    fn metadata(&self) -> Result<GroupMetadata> {
        self.faults.call(TransportCall::Metadata, || self.group.metadata())
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>> {
        let look_up = || self.group.committed(partitions, timeout);
        let fault = self.faults.meet(TransportCall::CommittedOffsets)?;
        let mut found = self.faults.with(TransportCall::CommittedOffsets, fault, look_up)?;
        if let Some(witness) = self.faults.witness() {
            if let Some(Fault::Outdated(_)) = fault {
                witness.take_back(partitions, &mut found);
            }
            witness.looked_up(partitions, &found);
        }
        Ok(found)
    }

    fn commit(&self, offsets: &[OffsetCommit], timeout: Duration) -> Result<()> {
        let witness = self.faults.witness();
        self.faults.call(TransportCall::CommitOffsets, || {
            self.group.commit(offsets, timeout)?;
            witness.iter().for_each(|witness| witness.noted(offsets));
            Ok(())
        })
    }
}
