//! A client that became another member without a word.
//!
//! When the group does not know a member any more that is about to join again, the client takes a
//! new name and may be given what it has, so that it sees no reason to tell what it lost. Somebody
//! else may have had it in between: such tasks begin anew, from what is committed. They must not do
//! so before the group has said that the new member has them. Until then it may be somebody else's
//! still, and a commit under the new name would be taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use streams_core::TaskId;

use super::{Member, Stopping};
use crate::lease::{Assignment, Lease};
use crate::status::TaskState;

/// Under which name this instance has what it has.
#[derive(Default)]
pub(super) struct MemberIdTracker {
    /// The name under which the group has last said what is ours; `None` if the client was nobody
    /// again by then.
    confirmed: Option<Arc<str>>,
    /// Tasks that are closed only to be opened again.
    closing: BTreeSet<TaskId>,
    /// Those of them that are closed.
    closed: BTreeSet<TaskId>,
}

impl MemberIdTracker {
    /// The group wants the task back.
    pub(super) fn given_up(&mut self, task: TaskId) {
        self.closing.remove(&task);
        self.closed.remove(&task);
    }

    pub(super) fn released(&mut self, task: TaskId) {
        if self.closing.remove(&task) {
            self.closed.insert(task);
        }
    }
}

impl Member {
    /// The group has said what is ours, and waits for the answer: until that is given the client
    /// does not join again, so it has no other name yet.
    pub(super) fn confirm(&mut self) {
        self.naming.confirmed = self.member_id();
    }

    /// A lease of what the group has just given us. Without a name it is lost already.
    pub(super) fn lease(&self) -> Arc<Lease> {
        Lease::new(self.naming.confirmed.clone())
    }

    /// Has tasks closed that were given to who the client was, and opens them again when they are
    /// the new member's.
    pub(super) fn follow_member_id(&mut self) {
        if self.stopping != Stopping::No {
            return;
        }
        let Some(name) = self.member_id() else { return };
        self.close_renamed(&name);
        if self.naming.confirmed.as_ref() == Some(&name) {
            self.reopen_renamed();
        }
    }

    fn close_renamed(&mut self, name: &Arc<str>) {
        let is_anothers =
            |one: &&Assignment| one.lease.is_held() && one.lease.member_id() != Some(name);
        let renamed: Vec<_> = self.tasks.values().filter(is_anothers).cloned().collect();
        if renamed.is_empty() {
            return;
        }
        for Assignment { task, lease, .. } in renamed {
            tracing::info!(%task, "the client is another member now, the task is opened again");
            self.status.set_task_state(task, TaskState::Closing, "the client is another member");
            lease.lose();
            self.naming.closing.insert(task);
        }
        self.leases_changed();
    }

    fn reopen_renamed(&mut self) {
        for task in std::mem::take(&mut self.naming.closed) {
            let (place, lease) = (self.place(task), self.lease());
            let assignment = self.placement.assignment(&self.topology, task, place, lease);
            self.tasks.insert(task, assignment.clone());
            self.open(assignment);
        }
    }

    fn member_id(&self) -> Option<Arc<str>> {
        self.transport.group().metadata().ok().map(|metadata| metadata.member_id)
    }
}
