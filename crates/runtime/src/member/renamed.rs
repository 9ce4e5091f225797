//! A client that became another member without a word.
//!
//! When the group does not know a member any more that is about to join again, the client takes a
//! new name and may be given what it has, so that it sees no reason to tell anybody. Whether
//! somebody else had it in between is not known either: such tasks begin anew, from what is
//! committed.

use streams_core::TaskId;

use super::{Member, Stopping};
use crate::lease::{Assignment, Lease};
use crate::status::TaskState;

impl Member {
    /// Has tasks closed that were given to who the client was.
    pub(super) fn close_renamed(&mut self) {
        if self.tasks.is_empty() || self.stopping != Stopping::No {
            return;
        }
        let Ok(metadata) = self.transport.group().metadata() else { return };
        let is_anothers = |one: &&Assignment| {
            let name = one.lease.member_id();
            one.lease.is_held() && name.is_some_and(|name| *name != metadata.member_id)
        };
        let renamed: Vec<_> = self.tasks.values().filter(is_anothers).cloned().collect();
        if renamed.is_empty() {
            return;
        }
        for Assignment { task, lease, .. } in renamed {
            tracing::info!(%task, "the client is another member now, the task is opened again");
            self.status.changed(task, TaskState::Closing, "the client is another member");
            lease.lose();
            self.reopening.insert(task);
        }
        self.leases_changed();
    }

    /// Opens a task again that is closed by now, unless the group has asked for it meanwhile.
    pub(super) fn reopen_renamed(&mut self, task: TaskId) {
        if !self.reopening.remove(&task) || self.stopping != Stopping::No {
            return;
        }
        let (worker, lease) = (self.least_loaded(), Lease::new());
        let assignment = self.placement.assignment(&self.topology, task, worker, lease);
        self.tasks.insert(task, assignment.clone());
        self.open(assignment);
        self.identify();
    }
}
