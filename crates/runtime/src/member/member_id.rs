//! A client that silently became another member of the group.
//!
//! When the group has forgotten a member that is about to join again, the client gets a new member
//! id. The group may assign it what it had, so the client sees nothing to report as lost. But
//! another instance may have had those partitions in between, so their tasks begin again from what
//! is committed. They must not do so before the group has assigned them to the new member id: until
//! then they may still be the other instance's, and the group would accept a commit under the new
//! id.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use streams_core::TaskId;

use super::{GroupMember, Shutdown};
use crate::assignment::Assignment;
use crate::lease::Lease;
use crate::status::TaskState;

/// Under which member id this instance has its tasks.
#[derive(Default)]
pub(super) struct MemberIdTracker {
    /// The member id under which the group last assigned partitions; `None` if the client had none
    /// any more by then.
    confirmed: Option<Arc<str>>,
    /// Tasks that are being closed only to be opened again.
    closing: BTreeSet<TaskId>,
    /// Those of them that are closed.
    closed: BTreeSet<TaskId>,
}

impl MemberIdTracker {
    /// The group wants the task back, so it is not opened again.
    pub(super) fn task_revoked(&mut self, task: TaskId) {
        self.closing.remove(&task);
        self.closed.remove(&task);
    }

    pub(super) fn task_closed(&mut self, task: TaskId) {
        if self.closing.remove(&task) {
            self.closed.insert(task);
        }
    }
}

impl GroupMember {
    /// Notes the member id of an assignment. The group waits for the answer to it, and the client
    /// does not join again before that is given, so its id is still the one of the assignment.
    pub(super) fn confirm_member_id(&mut self) {
        self.member_ids.confirmed = self.member_id();
    }

    /// A lease of what the group has just assigned. Without a member id it is lost already.
    pub(super) fn lease(&self) -> Arc<Lease> {
        Lease::new(self.member_ids.confirmed.clone())
    }

    /// Closes tasks that were assigned under an earlier member id, and opens them again when they
    /// are assigned under the new one.
    pub(super) fn follow_member_id(&mut self) {
        if self.shutdown != Shutdown::No {
            return;
        }
        let Some(member_id) = self.member_id() else { return };
        self.close_earlier(&member_id);
        if self.member_ids.confirmed.as_ref() == Some(&member_id) {
            self.reopen_closed();
        }
    }

    fn close_earlier(&mut self, member_id: &Arc<str>) {
        let is_earlier =
            |one: &&Assignment| one.lease.is_held() && one.lease.member_id() != Some(member_id);
        let earlier: Vec<_> = self.tasks.values().filter(is_earlier).cloned().collect();
        if earlier.is_empty() {
            return;
        }
        for Assignment { task, lease, .. } in earlier {
            tracing::info!(%task, "the client has a new member id; opening the task again");
            self.status.set_task_state(task, TaskState::Closing, "the member id has changed");
            lease.lose();
            self.member_ids.closing.insert(task);
        }
        self.announce_lease_changes();
    }

    fn reopen_closed(&mut self) {
        for task in mem::take(&mut self.member_ids.closed) {
            let assignment = self.assignment(task);
            self.open(assignment);
        }
    }

    fn member_id(&self) -> Option<Arc<str>> {
        self.transport.group().metadata().ok().map(|metadata| metadata.member_id)
    }
}
