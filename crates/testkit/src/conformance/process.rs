//! A process in a group: a member that responds to its events as the runtime does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{
    ErrorKind, Fetcher, Group, GroupMetadata, Member, MemberConfig, MemberEvent, OffsetCommit,
};
use streams_core::TopicPartition;

use super::env::{Env, must};

/// A member and what it owns.
pub(super) struct GroupProcess {
    pub(super) member: Box<dyn Member>,
    pub(super) group: Arc<dyn Group>,
    /// From the event that assigned a partition until it was unassigned.
    pub(super) owned: BTreeSet<TopicPartition>,
    /// The partitions that it was told it had lost.
    pub(super) lost: BTreeSet<TopicPartition>,
    /// How many partitions were ever assigned to it.
    pub(super) assigned_count: usize,
    /// Whether the transport refuses it permanently.
    pub(super) dead: bool,
}

impl GroupProcess {
    pub(super) fn start(env: &Env, config: &MemberConfig) -> Self {
        let member = must("join", env.transport().member(config));
        let group = member.group();
        Self {
            member,
            group,
            owned: BTreeSet::new(),
            lost: BTreeSet::new(),
            assigned_count: 0,
            dead: false,
        }
    }

    /// Polls once and responds to the events.
    pub(super) fn step(&mut self) {
        if self.dead {
            return;
        }
        let events = match self.member.poll(Duration::from_millis(5)) {
            Ok(events) => events,
            Err(e) if e.kind() == ErrorKind::Retriable => return,
            Err(e) if matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Fatal) => {
                self.lost.append(&mut self.owned);
                self.dead = true;
                return;
            }
            Err(e) => panic!("poll of a member: {:?}: {e}", e.kind()),
        };
        for event in events {
            self.answer(event);
        }
    }

    pub(super) fn answer(&mut self, event: MemberEvent) {
        match event {
            MemberEvent::Assigned(partitions) => {
                must("assign", self.member.assign(&partitions));
                self.assigned_count += partitions.len();
                for partition in partitions {
                    assert!(!self.owned.contains(&partition), "{partition} assigned twice");
                    self.owned.insert(partition);
                }
            }
            MemberEvent::Revoked(partitions) => {
                must("unassign", self.member.unassign(&partitions));
                for partition in &partitions {
                    assert!(self.owned.remove(partition), "{partition} revoked, never assigned");
                }
            }
            MemberEvent::Lost(partitions) => {
                must("unassign", self.member.unassign(&partitions));
                for partition in partitions {
                    assert!(self.owned.remove(&partition), "{partition} lost, never assigned");
                    self.lost.insert(partition);
                }
            }
        }
    }

    /// Leaves the group, and waits until it has left.
    pub(super) fn leave(&mut self, env: &Env, others: &mut [&mut GroupProcess]) {
        must("leave", self.member.leave(env.patience));
        env.eventually("the leaving member is rid of its partitions", || {
            self.step();
            others.iter_mut().for_each(|other| other.step());
            check_exclusive(&[&[&*self][..], &as_refs(others)].concat());
            (self.owned.is_empty() || self.dead).then_some(())
        });
    }

    /// Its identity, once it has one.
    pub(super) fn metadata(&mut self, env: &Env) -> GroupMetadata {
        env.eventually("the member has an identity", || {
            self.step();
            self.group.metadata().ok()
        })
    }

    /// A fetcher.
    pub(super) fn fetcher(&self) -> Box<dyn Fetcher> {
        must("open a fetcher", self.member.fetcher())
    }
}

/// Steps all processes until the group's `partitions` partitions are distributed evenly, none owned
/// twice at any time.
pub(super) fn settle(env: &Env, processes: &mut [&mut GroupProcess], partitions: usize) {
    env.eventually(&format!("{partitions} partitions are distributed evenly"), || {
        // Step the latest first: it must not own what the others have not given up yet.
        for index in (0..processes.len()).rev() {
            processes[index].step();
            check_exclusive(&as_refs(processes));
        }
        let counts: Vec<_> = processes.iter().map(|process| process.owned.len()).collect();
        let spread = counts.iter().max()? - counts.iter().min()?;
        (counts.iter().sum::<usize>() == partitions && spread <= 1).then_some(())
    });
}

/// The only member of `group`, which owns all partitions of `topics`.
pub(super) fn alone(
    env: &Env,
    group: &str,
    topics: &[&Arc<str>],
    partitions: usize,
) -> GroupProcess {
    let mut process = GroupProcess::start(env, &env.member(group, topics));
    settle(env, &mut [&mut process], partitions);
    process
}

fn as_refs<'a>(processes: &'a [&mut GroupProcess]) -> Vec<&'a GroupProcess> {
    processes.iter().map(|process| &**process).collect()
}

/// No partition is owned twice.
pub(super) fn check_exclusive(processes: &[&GroupProcess]) {
    let mut seen = BTreeSet::new();
    for process in processes.iter().filter(|process| !process.dead) {
        for partition in &process.owned {
            assert!(seen.insert(partition), "{partition} has two owners");
        }
    }
}

/// An offset to commit.
pub(super) fn commit_of(partition: &TopicPartition, offset: i64, metadata: &str) -> OffsetCommit {
    OffsetCommit { partition: partition.clone(), offset, metadata: metadata.to_owned() }
}
