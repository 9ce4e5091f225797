//! A membership of a group.

mod group;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runtime::transport::{Fetcher, Group, Member, MemberConfig, MemberEvent, Result};
use streams_core::TopicPartition;

use crate::error::fenced;
use crate::fetcher::{AssignedSet, EmbeddedFetcher};
use crate::group::MemberKey;
use crate::lock::lock;
use crate::shared::{SharedLog, WaitFor};
use crate::state::LogState;

use group::EmbeddedGroup;

/// Not a member; real keys start at 1.
const NOBODY: MemberKey = 0;

/// A member. Dropping it without [`leave`](Member::leave) is a crash: the group notices when its
/// session expires.
#[derive(Debug)]
pub(crate) struct EmbeddedMember {
    shared: Arc<SharedLog>,
    config: MemberConfig,
    handle: Arc<EmbeddedGroup>,
    assigned: AssignedSet,
    /// Partitions that events assigned to this member and it has not unassigned.
    given: BTreeSet<TopicPartition>,
    /// Lost partitions that are not unassigned yet. Until they are, it does not join again.
    lost: BTreeSet<TopicPartition>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Member,
    /// Removed by the group; joins again.
    Expired,
    /// Replaced by a newer incarnation, for good.
    Replaced,
    /// Leaving, but still owns partitions.
    Leaving,
    Left,
}

impl EmbeddedMember {
    pub(crate) fn join(shared: Arc<SharedLog>, config: &MemberConfig) -> Result<Self> {
        let mut state = shared.lock_now();
        state.check_health()?;
        let key = state.join(config, shared.clock.elapsed());
        drop(state);
        shared.notify_groups();
        let handle = EmbeddedGroup {
            shared: shared.clone(),
            name: config.group_id.clone(),
            instance: config.instance_id.clone(),
            read_committed: config.read_committed,
            key: AtomicU64::new(key),
        };
        Ok(Self {
            shared,
            config: config.clone(),
            handle: Arc::new(handle),
            assigned: Arc::default(),
            given: BTreeSet::new(),
            lost: BTreeSet::new(),
            standing: Standing::Member,
        })
    }

    fn key(&self) -> MemberKey {
        self.handle.key.load(Ordering::Acquire)
    }

    /// The events to report now.
    fn events(&mut self, state: &mut LogState) -> Result<Vec<MemberEvent>> {
        let now = self.shared.clock.elapsed();
        if state.expire_members(now) {
            self.shared.notify_groups();
        }
        if self.standing == Standing::Expired && self.lost.is_empty() {
            let key = state.join(&self.config, now);
            self.handle.key.store(key, Ordering::Release);
            self.standing = Standing::Member;
            self.shared.notify_groups();
        }
        match self.standing {
            Standing::Replaced if self.lost.is_empty() => {
                let context = format!("poll group {}", self.handle.name);
                return Err(fenced(
                    context,
                    "a newer member has this static instance id; give each instance its own",
                ));
            }
            Standing::Replaced | Standing::Expired | Standing::Left => return Ok(Vec::new()),
            Standing::Member | Standing::Leaving => {}
        }
        let key = self.key();
        let events = state.groups.get_mut(&self.handle.name).and_then(|g| g.poll(key, now));
        match events {
            Some(events) => Ok(self.note(events)),
            None => Ok(self.thrown_out(state)),
        }
    }

    /// Remembers assigned partitions.
    fn note(&mut self, events: Vec<MemberEvent>) -> Vec<MemberEvent> {
        for event in &events {
            if let MemberEvent::Assigned(partitions) = event {
                self.given.extend(partitions.iter().cloned());
            }
        }
        events
    }

    /// The group no longer knows this member: all its partitions are lost.
    fn thrown_out(&mut self, state: &LogState) -> Vec<MemberEvent> {
        let key = self.handle.key.swap(NOBODY, Ordering::AcqRel);
        if self.standing == Standing::Leaving {
            self.standing = Standing::Left;
            return Vec::new();
        }
        let group = state.groups.get(&self.handle.name);
        let replaced =
            group.is_some_and(|group| group.has_successor(&self.config.instance_id, key));
        self.standing = if replaced { Standing::Replaced } else { Standing::Expired };
        self.lost = std::mem::take(&mut self.given);
        tracing::warn!(group = %self.handle.name, replaced, "member was removed from its group");
        match self.lost.is_empty() {
            true => Vec::new(),
            false => vec![MemberEvent::Lost(self.lost.iter().cloned().collect())],
        }
    }

    fn set_polling(&self, state: &mut LogState, polling: bool) {
        let now = self.shared.clock.elapsed();
        if let Some(group) = state.groups.get_mut(&self.handle.name) {
            group.set_polling(self.key(), polling, now);
        }
    }
}

impl Member for EmbeddedMember {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<MemberEvent>> {
        let shared = self.shared.clone();
        let deadline = shared.deadline(timeout);
        let mut state = shared.lock_now();
        loop {
            state.check_health()?;
            let events = self.events(&mut state)?;
            if !events.is_empty() || self.standing == Standing::Left {
                return Ok(events);
            }
            self.set_polling(&mut state, true);
            let waited = shared.wait(state, WaitFor::Groups, deadline);
            let over = waited.is_none();
            drop(waited);
            state = shared.lock_now();
            self.set_polling(&mut state, false);
            if over {
                return Ok(Vec::new());
            }
        }
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let state = self.shared.lock();
        for partition in partitions {
            state.partition_id("assign", partition)?;
        }
        drop(state);
        lock(&self.assigned).extend(partitions.iter().cloned());
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut assigned = lock(&self.assigned);
        for partition in partitions {
            assigned.remove(partition);
            self.lost.remove(partition);
        }
        drop(assigned);
        let mut state = self.shared.lock();
        state.release(&self.handle.name, self.key(), partitions);
        let group = state.groups.get(&self.handle.name);
        let key = self.key();
        self.given.retain(|partition| {
            !partitions.contains(partition) || group.is_some_and(|g| g.owns(key, partition))
        });
        drop(state);
        self.shared.notify_groups();
        Ok(())
    }

    fn fetcher(&self) -> Result<Box<dyn Fetcher>> {
        let MemberConfig { read_committed, fetch_bytes_max, .. } = self.config;
        let shared = self.shared.clone();
        let assigned = self.assigned.clone();
        Ok(Box::new(EmbeddedFetcher::new(shared, read_committed, fetch_bytes_max, assigned)))
    }

    fn group(&self) -> Arc<dyn Group> {
        self.handle.clone()
    }

    fn leave(&mut self, _: Duration) -> Result<()> {
        let mut state = self.shared.lock_now();
        let assigned = lock(&self.assigned).clone();
        state.leave(&self.handle.name, self.key(), &assigned);
        let group = state.groups.get(&self.handle.name);
        let is_gone = group.is_none_or(|group| group.identity(self.key()).is_none());
        drop(state);
        self.standing = if is_gone { Standing::Left } else { Standing::Leaving };
        self.shared.notify_groups();
        Ok(())
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        // A member that has left but never unassigns is removed anyway.
        if self.standing == Standing::Leaving {
            self.shared.lock().remove_member(&self.handle.name, self.key());
            self.shared.notify_groups();
        }
    }
}
