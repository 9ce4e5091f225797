//! A task's lease: this instance's right to a task, from the group's assignment to its revocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use streams_core::{TaskId, TaskMetrics, TopicPartition};

/// The right to a task. Shared by everybody in the process who may have the task in hand; a task
/// that arrives somewhere is looked at through its lease first.
#[derive(Debug)]
pub(crate) struct Lease {
    state: AtomicU8,
    /// Who this instance was in the group when it got the task. A commit under another name would
    /// not be fenced. `None` if the client was nobody again by then.
    member_id: Option<Arc<str>>,
}

/// What has become of a lease; the later the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeaseState {
    /// The task is ours.
    Held,
    /// The group wants it back: commit, close, say so.
    Revoked,
    /// Somebody else may have it already: close, commit nothing.
    Lost,
}

impl Lease {
    pub(crate) fn new(member_id: Option<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), member_id })
    }

    pub(crate) fn state(&self) -> LeaseState {
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
        self.state.fetch_max(1, Ordering::AcqRel);
    }

    pub(crate) fn lose(&self) {
        self.state.fetch_max(2, Ordering::AcqRel);
    }

    pub(crate) fn member_id(&self) -> Option<&Arc<str>> {
        self.member_id.as_ref()
    }
}

/// Whose a task is, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) worker: usize,
    pub(crate) restorer: usize,
}

/// A task that this instance was given: what everybody on its way needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) task: TaskId,
    /// The partitions of its inputs, in the order of the sub-topology's sources.
    pub(crate) partitions: Vec<TopicPartition>,
    /// The changelog partitions of its tables, in their order.
    pub(crate) changelogs: Vec<TopicPartition>,
    /// The name under which its store is kept.
    pub(crate) store_name: Arc<str>,
    pub(crate) place: Place,
    pub(crate) lease: Arc<Lease>,
    /// What the task counted before it was last rewound.
    pub(crate) carried: TaskMetrics,
}
