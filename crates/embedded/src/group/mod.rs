//! Consumer groups: members, generations, and committed offsets.
//!
//! A member owns a partition from the poll that assigns it until it unassigns it, leaves, or is
//! silent for its session timeout. Only then does another member get it.

mod assignor;
mod offsets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{MemberConfig, MemberEvent};
use streams_core::TopicPartition;

use crate::state::LogState;
use crate::topic::TopicState;

use assignor::{MemberClaim, assign};
pub(crate) use offsets::{OffsetAndMetadata, Offsets, check_metadata_len};

/// Identifies one incarnation of a member in its group. Never reused.
pub(crate) type MemberKey = u64;

/// A group.
#[derive(Debug)]
pub(crate) struct GroupState {
    pub(crate) name: Arc<str>,
    /// Incremented whenever members join or leave.
    generation: i32,
    members: BTreeMap<MemberKey, MemberState>,
    next: MemberKey,
    pub(crate) offsets: Offsets,
}

/// A member of a group.
#[derive(Debug)]
struct MemberState {
    id: Arc<str>,
    instance: Option<Arc<str>>,
    topics: Vec<Arc<str>>,
    session_timeout: Duration,
    /// When it was last heard of.
    seen: Duration,
    /// Whether it waits inside a poll: then it is alive, however long that takes.
    polling: bool,
    /// The generation that the member knows.
    generation: i32,
    owned: BTreeSet<TopicPartition>,
    /// The partitions in `owned` that were revoked.
    revoking: BTreeSet<TopicPartition>,
    /// Its target assignment.
    target: BTreeSet<TopicPartition>,
    leaving: bool,
    /// Whether it has been told its assignment, even an empty one.
    is_told: bool,
}

/// How the group identifies a member.
#[derive(Clone, Debug)]
pub(crate) struct MemberIdentity {
    pub(crate) id: Arc<str>,
    pub(crate) generation: i32,
}

impl GroupState {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, generation: 0, members: BTreeMap::new(), next: 1, offsets: Offsets::default() }
    }

    pub(crate) fn subscribes(&self, topic: &Arc<str>) -> bool {
        self.members.values().any(|member| member.topics.contains(topic))
    }

    /// Adds a new member. A static member replaces its former incarnation.
    fn join(
        &mut self,
        config: &MemberConfig,
        now: Duration,
        topics: &BTreeMap<Arc<str>, TopicState>,
    ) -> MemberKey {
        let key = self.next;
        self.next += 1;
        let former = config.instance_id.as_ref().and_then(|instance| {
            let same = |member: &MemberState| member.instance.as_ref() == Some(instance);
            self.members.iter().find(|(_, member)| same(member)).map(|(key, _)| *key)
        });
        let former = former.and_then(|key| self.members.remove(&key));
        let label = config.instance_id.as_deref().unwrap_or("member");
        let mut member = MemberState {
            id: format!("{label}-{key}").into(),
            instance: config.instance_id.clone(),
            topics: config.topics.clone(),
            session_timeout: config.session_timeout,
            seen: now,
            polling: false,
            generation: self.generation,
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            target: BTreeSet::new(),
            leaving: false,
            is_told: false,
        };
        // The same static member with the same subscription: as in Kafka, no rebalance.
        let replaces = former.filter(|former| former.topics == member.topics && !former.leaving);
        let is_new = replaces.is_none();
        if let Some(former) = replaces {
            member.target = former.target;
        }
        tracing::info!(group = %self.name, member = %member.id, "member joined");
        self.members.insert(key, member);
        if is_new {
            self.rebalance(topics);
        }
        key
    }

    /// Assigns all partitions again, in a new generation.
    pub(crate) fn rebalance(&mut self, topics: &BTreeMap<Arc<str>, TopicState>) {
        self.generation += 1;
        let claims: Vec<_> = self
            .members
            .values()
            .filter(|member| !member.leaving)
            .map(|member| MemberClaim {
                topics: &member.topics,
                target: &member.target,
                owned: &member.owned,
            })
            .collect();
        let mut targets = assign(&claims, topics).into_iter();
        for member in self.members.values_mut() {
            member.target = match member.leaving {
                false => targets.next().unwrap_or_default(),
                true => BTreeSet::new(),
            };
        }
        let members = self.members.len();
        tracing::debug!(group = %self.name, generation = self.generation, members, "rebalanced");
    }

    /// The next event for a member; `None` if it is no longer a member.
    pub(crate) fn poll(&mut self, key: MemberKey, now: Duration) -> Option<Vec<MemberEvent>> {
        let generation = self.generation;
        let others = self.members.iter().filter(|(other, _)| **other != key);
        let taken: BTreeSet<_> = others.flat_map(|(_, member)| member.owned.clone()).collect();
        let member = self.members.get_mut(&key)?;
        member.seen = now;
        member.generation = generation;
        let mut events = Vec::new();
        let unwanted = member.owned.difference(&member.target);
        let revoked: Vec<_> = unwanted.filter(|p| !member.revoking.contains(*p)).cloned().collect();
        if !revoked.is_empty() {
            member.revoking.extend(revoked.iter().cloned());
            events.push(MemberEvent::Revoked(revoked));
        }
        let wanted = member.target.difference(&member.owned);
        let assigned: Vec<_> = wanted.filter(|p| !taken.contains(*p)).cloned().collect();
        // As in Kafka, a member without partitions gets one empty assignment.
        let is_spare = !member.is_told && member.target.is_empty() && !member.leaving;
        if !assigned.is_empty() || is_spare {
            member.is_told = true;
            member.owned.extend(assigned.iter().cloned());
            events.push(MemberEvent::Assigned(assigned));
        }
        Some(events)
    }

    /// Notes that a member starts or ends a wait inside its poll.
    pub(crate) fn set_polling(&mut self, key: MemberKey, polling: bool, now: Duration) {
        if let Some(member) = self.members.get_mut(&key) {
            member.polling = polling;
            member.seen = now;
        }
    }

    /// Records that a member has unassigned partitions. It keeps those that were not revoked.
    fn release(&mut self, key: MemberKey, partitions: &[TopicPartition]) -> bool {
        let Some(member) = self.members.get_mut(&key) else { return false };
        for partition in partitions {
            if member.revoking.remove(partition) {
                member.owned.remove(partition);
            }
        }
        member.leaving && member.owned.is_empty()
    }

    /// Starts a member's leave. Returns whether it can leave at once because it owns nothing.
    fn begin_leave(&mut self, key: MemberKey, assigned: &BTreeSet<TopicPartition>) -> bool {
        let Some(member) = self.members.get_mut(&key) else { return false };
        member.leaving = true;
        member.owned.retain(|partition| assigned.contains(partition));
        member.owned.is_empty()
    }

    fn remove(&mut self, key: MemberKey) -> bool {
        let Some(member) = self.members.remove(&key) else { return false };
        tracing::info!(group = %self.name, member = %member.id, "member left");
        true
    }

    /// Removes members that have been silent for too long; returns whether there were any.
    fn expire(&mut self, now: Duration) -> bool {
        let silent = |member: &MemberState| {
            !member.polling && now >= member.seen.saturating_add(member.session_timeout)
        };
        let before = self.members.len();
        self.members.retain(|_, member| {
            if silent(member) {
                tracing::warn!(group = %self.name, member = %member.id, "member expired");
            }
            !silent(member)
        });
        self.members.len() < before
    }

    /// When the next member's session expires.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let waiting = self.members.values().filter(|member| !member.polling);
        waiting.map(|member| member.seen.saturating_add(member.session_timeout)).min()
    }

    pub(crate) fn owns(&self, key: MemberKey, partition: &TopicPartition) -> bool {
        self.members.get(&key).is_some_and(|member| member.owned.contains(partition))
    }

    pub(crate) fn identity(&self, key: MemberKey) -> Option<MemberIdentity> {
        let member = self.members.get(&key)?;
        Some(MemberIdentity { id: member.id.clone(), generation: member.generation })
    }

    /// Whether a newer incarnation than `key` has replaced a static member.
    pub(crate) fn has_successor(&self, instance: &Option<Arc<str>>, key: MemberKey) -> bool {
        let newer = self.members.range(key + 1..);
        instance.is_some() && newer.into_iter().any(|(_, member)| member.instance == *instance)
    }

    /// Checks that the group has this member in this generation; the error says why not.
    pub(crate) fn check(&self, id: &str, generation: i32) -> std::result::Result<(), String> {
        if !self.members.values().any(|member| &*member.id == id) {
            return Err(format!("{id:?} is not a member (expired, left or replaced)"));
        }
        if generation != self.generation {
            let now = self.generation;
            return Err(format!("the generation is {now}, not {generation}"));
        }
        Ok(())
    }
}

/// Changes to a group that may rebalance it.
impl LogState {
    /// The group called `name`, created if needed.
    pub(crate) fn group(&mut self, name: &Arc<str>) -> &mut GroupState {
        self.groups.entry(name.clone()).or_insert_with(|| GroupState::new(name.clone()))
    }

    pub(crate) fn join(&mut self, config: &MemberConfig, now: Duration) -> MemberKey {
        self.expire_members(now);
        self.group(&config.group_id);
        match self.groups.get_mut(&config.group_id) {
            Some(group) => group.join(config, now, &self.topics),
            None => 0,
        }
    }

    pub(crate) fn release(&mut self, name: &str, key: MemberKey, partitions: &[TopicPartition]) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.release(key, partitions) {
            self.remove_member(name, key);
        }
    }

    pub(crate) fn leave(
        &mut self,
        name: &str,
        key: MemberKey,
        assigned: &BTreeSet<TopicPartition>,
    ) {
        let Some(group) = self.groups.get_mut(name) else { return };
        match group.begin_leave(key, assigned) {
            true => self.remove_member(name, key),
            false => group.rebalance(&self.topics),
        }
    }

    pub(crate) fn remove_member(&mut self, name: &str, key: MemberKey) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.remove(key) {
            group.rebalance(&self.topics);
        }
    }

    /// Removes all members from all groups.
    pub(crate) fn forget_members(&mut self) {
        for group in self.groups.values_mut() {
            tracing::warn!(group = %group.name, "all members were removed from their groups");
            group.members.clear();
            group.rebalance(&self.topics);
        }
    }

    /// Removes silent members from all groups; returns whether there were any.
    pub(crate) fn expire_members(&mut self, now: Duration) -> bool {
        let mut any = false;
        for group in self.groups.values_mut() {
            if group.expire(now) {
                group.rebalance(&self.topics);
                any = true;
            }
        }
        any
    }
}
