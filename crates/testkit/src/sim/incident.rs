//! The incidents of a simulated world.

use std::collections::BTreeMap;
use std::fmt;

use runtime::transport::ErrorKind;

use crate::faults::{Fault, TransportCall};

/// Something that goes wrong in a [`Simulation`](crate::Simulation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Incident {
    /// An instance dies during a call to the log.
    Killed,
    /// An instance dies during a call to its disk.
    KilledAtDisk,
    /// An instance freezes during a step.
    StoodStill,
    /// An instance freezes for longer than its session lasts, and resumes.
    Zombie,
    /// An instance is stopped gracefully.
    Stopped,
    /// A request does not arrive, without an error.
    RequestLost,
    /// A request arrives, its reply does not.
    AnswerLost,
    /// A request arrives long after it was given up.
    RequestLate,
    /// A request arrives twice.
    RequestTwice,
    /// A request takes long to arrive, while the other instances go on.
    RequestSlow,
    /// A reply takes long to arrive, while the other instances go on.
    AnswerSlow,
    /// A request fails with a retriable error.
    Refused,
    /// A transaction fails and must be aborted.
    Aborted,
    /// A producer is told that it is fenced, although it is not.
    SaidFenced,
    /// The log fences a producer, for a newer one or after a transaction timed out.
    Fenced,
    /// A member's session ends, or the group forgets it: its partitions are lost.
    MemberLost,
    /// A client does not report that its partitions are lost, and joins again under another member
    /// id.
    Renamed,
    /// A fetch brings less than there is, or nothing.
    FewRecords,
    /// A former leader reports a partition's end, or a former coordinator the committed offsets: it
    /// does not know that it was replaced.
    Outdated,
    /// A call while the log is unavailable.
    LogAway,
    /// A call while the coordinators of group and transactions are being moved.
    CoordinatorMoving,
    /// The log restarts: it is unavailable, and has forgotten all members.
    LogRestarted,
    /// A write to the disk fails.
    DiskFull,
    /// A write to the disk, or its opening, takes long, while the other instances go on.
    DiskSlow,
    /// Unflushed batches are lost after a crash.
    WritesLost,
    /// After a crash some tables have their part of a batch, and others do not.
    WritesTorn,
    /// A store is damaged after a crash.
    StoreDamaged,
    /// The disk is empty after a crash.
    DiskLost,
    /// Time jumps forward, for all instances.
    TimeJumped,
    /// The date of an instance is set forward or back.
    DateSet,
    /// The leader of one partition of an input is unavailable.
    LeaderAway,
}

impl Incident {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::Killed,
        Self::KilledAtDisk,
        Self::StoodStill,
        Self::Zombie,
        Self::Stopped,
        Self::RequestLost,
        Self::AnswerLost,
        Self::RequestLate,
        Self::RequestTwice,
        Self::RequestSlow,
        Self::AnswerSlow,
        Self::Refused,
        Self::Aborted,
        Self::SaidFenced,
        Self::Fenced,
        Self::MemberLost,
        Self::Renamed,
        Self::FewRecords,
        Self::Outdated,
        Self::LogAway,
        Self::CoordinatorMoving,
        Self::LogRestarted,
        Self::DiskFull,
        Self::DiskSlow,
        Self::WritesLost,
        Self::WritesTorn,
        Self::StoreDamaged,
        Self::DiskLost,
        Self::TimeJumped,
        Self::DateSet,
        Self::LeaderAway,
    ];

    /// The incident that a fault of a call is. A delay counts when time passes.
    pub(super) fn of(call: TransportCall, fault: Fault) -> Option<Self> {
        Some(match fault {
            _ if call == TransportCall::Lose => Self::Renamed,
            Fault::Fails(ErrorKind::Unknown) => Self::RequestLost,
            Fault::Fails(ErrorKind::Abortable) => Self::Aborted,
            Fault::Fails(ErrorKind::Fenced) => Self::SaidFenced,
            Fault::Fails(_) => Self::Refused,
            Fault::LostReply => Self::AnswerLost,
            Fault::Held => Self::RequestLate,
            Fault::Repeated => Self::RequestTwice,
            Fault::Partial(_) => Self::FewRecords,
            Fault::Outdated(_) => Self::Outdated,
            Fault::Slow(_) | Fault::SlowReply(_) => return None,
        })
    }
}

/// How often each incident happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incidents(BTreeMap<Incident, u64>);

impl Incidents {
    /// How often this happened.
    pub fn count(&self, incident: Incident) -> u64 {
        self.0.get(&incident).copied().unwrap_or(0)
    }

    /// The incidents that happened, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Incident, u64)> {
        self.0.iter().map(|(incident, count)| (*incident, *count))
    }

    pub(super) fn add(&mut self, incident: Incident, count: u64) {
        *self.0.entry(incident).or_default() += count;
    }

    pub(super) fn extend(&mut self, other: &Self) {
        other.iter().for_each(|(incident, count)| self.add(incident, count));
    }
}

impl fmt::Display for Incidents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (incident, count) in self.iter() {
            writeln!(f, "{:<20} {count:>9}", format!("{incident:?}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incident_is_listed() {
        for (index, incident) in Incident::ALL.into_iter().enumerate() {
            assert_eq!(incident as usize, index);
        }
        assert_eq!(Incident::LeaderAway as usize + 1, Incident::ALL.len());
    }

    #[test]
    fn counts_add_up() {
        let mut one = Incidents::default();
        let mut two = Incidents::default();
        one.add(Incident::Killed, 2);
        two.add(Incident::Killed, 3);
        two.add(Incident::Zombie, 1);
        one.extend(&two);
        assert_eq!(one.count(Incident::Killed), 5);
        assert_eq!(one.iter().count(), 2);
        assert!(one.to_string().contains("Zombie"));
    }
}
