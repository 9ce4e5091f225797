//! A membership of a group, and the group as seen by other threads.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use runtime::transport::{
    CommittedOffset, Fetcher, Group, GroupMetadata, Member, MemberConfig, MemberEvent,
    OffsetCommit, Result,
};
use streams_core::TopicPartition;

use crate::error::{fenced, retriable};
use crate::fetcher::{AssignedSet, EmbeddedFetcher};
use crate::group::{Committed, MemberIdentity, MemberKey, check_metadata_len};
use crate::lock::lock;
use crate::shared::{Shared, Wait};
use crate::state::State;

/// No membership; keys begin at 1.
const NOBODY: MemberKey = 0;

/// A member. Dropping it without [`leave`](Member::leave) is what a crash is: the group finds out by its silence.
#[derive(Debug)]
pub(crate) struct EmbeddedMember {
    shared: Arc<Shared>,
    config: MemberConfig,
    handle: Arc<EmbeddedGroup>,
    assigned: AssignedSet,
    /// What events gave to this member and it has not unassigned.
    given: BTreeSet<TopicPartition>,
    /// What was lost and is not unassigned yet: until then it does not join again.
    lost: BTreeSet<TopicPartition>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Member,
    /// Thrown out; joins again.
    Expired,
    /// Replaced by a newer incarnation: for good.
    Replaced,
    Leaving,
}

/// The group for other threads.
#[derive(Debug)]
pub(crate) struct EmbeddedGroup {
    shared: Arc<Shared>,
    name: Arc<str>,
    instance: Option<Arc<str>>,
    read_committed: bool,
    /// Who this member is at the moment.
    key: AtomicU64,
}

impl EmbeddedMember {
    pub(crate) fn join(shared: Arc<Shared>, config: &MemberConfig) -> Result<Self> {
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

    /// What there is to tell now.
    fn events(&mut self, state: &mut State) -> Result<Vec<MemberEvent>> {
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
                return Err(fenced(context, "a newer member has this static instance id"));
            }
            Standing::Replaced | Standing::Expired => return Ok(Vec::new()),
            Standing::Member | Standing::Leaving => {}
        }
        let key = self.key();
        let events = state.groups.get_mut(&self.handle.name).and_then(|g| g.poll(key, now));
        match events {
            Some(events) => Ok(self.note(events)),
            None => Ok(self.thrown_out(state)),
        }
    }

    /// Remembers what was given.
    fn note(&mut self, events: Vec<MemberEvent>) -> Vec<MemberEvent> {
        for event in &events {
            if let MemberEvent::Assigned(partitions) = event {
                self.given.extend(partitions.iter().cloned());
            }
        }
        events
    }

    /// The group does not know this member any more: everything is lost.
    fn thrown_out(&mut self, state: &State) -> Vec<MemberEvent> {
        let key = self.handle.key.swap(NOBODY, Ordering::AcqRel);
        if self.standing == Standing::Leaving {
            self.given.clear();
            return Vec::new();
        }
        let group = state.groups.get(&self.handle.name);
        let replaced =
            group.is_some_and(|group| group.has_successor(&self.config.instance_id, key));
        self.standing = if replaced { Standing::Replaced } else { Standing::Expired };
        self.lost = std::mem::take(&mut self.given);
        tracing::warn!(group = %self.handle.name, replaced, "member was thrown out of its group");
        match self.lost.is_empty() {
            true => Vec::new(),
            false => vec![MemberEvent::Lost(self.lost.iter().cloned().collect())],
        }
    }

    fn set_polling(&self, state: &mut State, polling: bool) {
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
            if !events.is_empty() {
                return Ok(events);
            }
            self.set_polling(&mut state, true);
            let waited = shared.wait(state, Wait::Groups, deadline);
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
        let (shared, assigned) = (self.shared.clone(), self.assigned.clone());
        Ok(Box::new(EmbeddedFetcher::new(shared, read_committed, fetch_bytes_max, assigned)))
    }

    fn group(&self) -> Arc<dyn Group> {
        self.handle.clone()
    }

    fn leave(&mut self, _: Duration) -> Result<()> {
        let mut state = self.shared.lock_now();
        let assigned = lock(&self.assigned).clone();
        state.leave(&self.handle.name, self.key(), &assigned);
        drop(state);
        self.standing = Standing::Leaving;
        self.shared.notify_groups();
        Ok(())
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        // Whoever has said goodbye and does not unassign goes all the same.
        if self.standing == Standing::Leaving {
            self.shared.lock().remove_member(&self.handle.name, self.key());
            self.shared.notify_groups();
        }
    }
}

impl EmbeddedGroup {
    fn identity(&self, state: &State, doing: &str) -> Result<MemberIdentity> {
        let key = self.key.load(Ordering::Acquire);
        let group = state.groups.get(&self.name);
        group.and_then(|group| group.identity(key)).ok_or_else(|| {
            fenced(format!("{doing} group {}", self.name), "not a member at the moment")
        })
    }

    /// The state, with silent members thrown out.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock_now();
        if state.expire_members(self.shared.clock.elapsed()) {
            self.shared.notify_groups();
        }
        state
    }
}

impl Group for EmbeddedGroup {
    fn metadata(&self) -> Result<GroupMetadata> {
        let identity = self.identity(&self.lock(), "ask for the identity in")?;
        Ok(GroupMetadata {
            group_id: self.name.clone(),
            generation: identity.generation,
            member_id: identity.id,
            instance_id: self.instance.clone(),
        })
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>> {
        let deadline = self.shared.deadline(timeout);
        let mut state = self.shared.lock_now();
        loop {
            state.check_health()?;
            let group = state.group(&self.name);
            let unstable = partitions.iter().find(|p| self.read_committed && !group.is_stable(p));
            let Some(unstable) = unstable else {
                return Ok(partitions.iter().map(|p| committed(group.offsets.get(p))).collect());
            };
            let Some(guard) = self.shared.wait(state, Wait::Offsets, deadline) else {
                let context = format!("find the committed offset of {unstable}");
                return Err(retriable(context, "an open transaction holds it"));
            };
            drop(guard);
            state = self.shared.lock_now();
        }
    }

    fn commit(&self, offsets: &[OffsetCommit], _: Duration) -> Result<()> {
        check_metadata_len(offsets)?;
        let mut state = self.lock();
        state.check_health()?;
        let identity = self.identity(&state, "commit offsets of")?;
        let group = state.group(&self.name);
        if let Err(why) = group.check(&identity.id, identity.generation) {
            return Err(retriable(format!("commit offsets of group {}", self.name), why));
        }
        for offset in offsets {
            group.offsets.insert(offset.partition.clone(), Committed::from(offset));
        }
        if let Some(dirty) = &mut state.dirty {
            for offset in offsets {
                dirty.offset(&self.name, &offset.partition, Committed::from(offset));
            }
        }
        drop(state);
        self.shared.sync()?;
        self.shared.maintain_if_due();
        Ok(())
    }
}

fn committed(offset: Option<&Committed>) -> CommittedOffset {
    CommittedOffset {
        offset: offset.map(|committed| committed.offset),
        metadata: offset.map(|committed| committed.metadata.clone()).unwrap_or_default(),
    }
}
