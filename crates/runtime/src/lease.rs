//! A task's lease: this instance's right to the task, from its assignment to its revocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The right to a task. All components of the process that may hold the task share it, and look at
/// it first whenever the task reaches them.
#[derive(Debug)]
pub(crate) struct Lease {
    state: AtomicU8,
    /// The member id under which this instance got the task: the group would not fence a commit
    /// under another one. `None` if the client had no member id any more by then.
    member_id: Option<Arc<str>>,
}

/// What has become of a lease. A later state never turns back into an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeaseState {
    /// The task belongs to this instance.
    Held,
    /// The group wants the task back: commit it, close it, report it.
    Revoked,
    /// Another instance may have the task already: close it, commit nothing.
    Lost,
}

impl Lease {
    pub(crate) fn new(member_id: Option<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(LeaseState::Held as u8), member_id })
    }

    pub(crate) fn state(&self) -> LeaseState {
        // Acquire, paired with the release in `revoke` and `lose`: a thread that sees a lost lease
        // also sees what the member wrote before it, such as the task's state in the status.
        match self.state.load(Ordering::Acquire) {
            0 => LeaseState::Held,
            1 => LeaseState::Revoked,
            _ => LeaseState::Lost,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state() == LeaseState::Held
    }

    pub(crate) fn revoke(&self) {
        self.worsen(LeaseState::Revoked);
    }

    pub(crate) fn lose(&self) {
        self.worsen(LeaseState::Lost);
    }

    /// Takes the maximum instead of storing, because a revocation that follows a loss must not undo
    /// it.
    fn worsen(&self, state: LeaseState) {
        self.state.fetch_max(state as u8, Ordering::AcqRel);
    }

    pub(crate) fn member_id(&self) -> Option<&Arc<str>> {
        self.member_id.as_ref()
    }
}
