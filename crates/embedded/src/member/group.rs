//! The group as seen by threads other than the member's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use runtime::transport::{CommittedOffset, Group, GroupMetadata, OffsetCommit, Result};
use streams_core::TopicPartition;

use crate::error::{fenced, retriable};
use crate::group::{MemberIdentity, OffsetAndMetadata, check_metadata_len};
use crate::shared::{SharedLog, WaitFor};
use crate::state::LogState;

/// A handle to the group for worker threads.
#[derive(Debug)]
pub(crate) struct EmbeddedGroup {
    pub(super) shared: Arc<SharedLog>,
    pub(super) name: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) read_committed: bool,
    /// This member's identity; `None` while it is not a member.
    pub(super) key: AtomicU64,
}

impl EmbeddedGroup {
    fn identity(&self, state: &LogState, doing: &str) -> Result<MemberIdentity> {
        let key = self.key.load(Ordering::Acquire);
        let group = state.groups.get(&self.name);
        group.and_then(|group| group.identity(key)).ok_or_else(|| {
            fenced(format!("{doing} group {}", self.name), "not a member at the moment")
        })
    }

    /// The state, after removing silent members.
    fn lock(&self) -> MutexGuard<'_, LogState> {
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
            let unstable =
                partitions.iter().find(|p| self.read_committed && !group.offsets.is_stable(p));
            let Some(unstable) = unstable else {
                return Ok(partitions.iter().map(|p| committed(group.offsets.find(p))).collect());
            };
            let Some(guard) = self.shared.wait(state, WaitFor::Offsets, deadline) else {
                let context = format!("find the committed offset of {unstable}");
                return Err(retriable(context, "an open transaction has a pending offset of it"));
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
            group.offsets.commit(offset.partition.clone(), OffsetAndMetadata::from(offset));
        }
        if let Some(unflushed) = &mut state.unflushed {
            for offset in offsets {
                unflushed.offset(&self.name, &offset.partition, OffsetAndMetadata::from(offset));
            }
        }
        drop(state);
        self.shared.sync()?;
        self.shared.maintain_if_due();
        Ok(())
    }
}

fn committed(offset: Option<&OffsetAndMetadata>) -> CommittedOffset {
    CommittedOffset {
        offset: offset.map(|committed| committed.offset),
        metadata: offset.map(|committed| committed.metadata.clone()).unwrap_or_default(),
    }
}
