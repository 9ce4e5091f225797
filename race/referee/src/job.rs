//! The jobs of the race.

use crate::data::{DataSet, OrderKey, Spread};

/// What a program is told to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Shipments,
    Counts,
    WindowTotals,
    RekeyedCounts,
    Joins,
}

impl Work {
    /// As the program knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shipments => "J1",
            Self::Counts => "J2",
            Self::WindowTotals => "J3",
            Self::RekeyedCounts => "J4",
            Self::Joins => "J7",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// How fast it works through what is there.
    Throughput,
    /// The same, in two rounds: the second is written while it is stopped.
    Rounds,
    /// How soon it answers at a steady rate.
    Latency,
    /// How soon it goes on without its state.
    Restore,
    /// How soon it goes on after `kill -9`.
    Kill,
    /// How soon it processes its first record.
    Start,
    /// What it costs while there is nothing to do.
    Idle,
}

pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) kind: JobKind,
    pub(crate) work: Work,
}

pub(crate) const JOBS: [Job; 11] = [
    Job { name: "J1", kind: JobKind::Throughput, work: Work::Shipments },
    Job { name: "J2", kind: JobKind::Throughput, work: Work::Counts },
    Job { name: "J3", kind: JobKind::Throughput, work: Work::WindowTotals },
    Job { name: "J4", kind: JobKind::Throughput, work: Work::RekeyedCounts },
    Job { name: "J7", kind: JobKind::Rounds, work: Work::Joins },
    Job { name: "J5", kind: JobKind::Restore, work: Work::Counts },
    Job { name: "KILL", kind: JobKind::Kill, work: Work::Counts },
    Job { name: "L1", kind: JobKind::Latency, work: Work::Shipments },
    Job { name: "L2", kind: JobKind::Latency, work: Work::Counts },
    Job { name: "START", kind: JobKind::Start, work: Work::Shipments },
    Job { name: "IDLE", kind: JobKind::Idle, work: Work::Counts },
];

impl Job {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        JOBS.iter().find(|job| job.name == name)
    }

    /// Whether it can be done by several instances, some of which are killed.
    pub(crate) fn has_instances(&self) -> bool {
        [JobKind::Throughput, JobKind::Rounds].contains(&self.kind)
    }

    /// The data that the job is given in advance.
    pub(crate) fn data(&self, records: u64, partitions: u32) -> DataSet {
        let key = match self.work {
            Work::Shipments | Work::Counts | Work::Joins => OrderKey::Customer,
            Work::WindowTotals => OrderKey::Category,
            Work::RekeyedCounts => OrderKey::Order,
        };
        match self.kind {
            // A table with many keys.
            JobKind::Restore | JobKind::Kill => {
                DataSet { records, customers: 1_200_000, spread: Spread::Uniform, key, partitions }
            }
            _ => DataSet { records, customers: 100_000, spread: Spread::Zipf, key, partitions },
        }
    }
}
