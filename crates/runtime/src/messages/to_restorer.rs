//! What the member and the workers ask of a restorer.

use streams_core::Store;

use crate::assignment::Assignment;

/// Bring the task's tables up to date, find out where its inputs resume, and pass it to its worker.
pub(crate) struct RestoreRequest {
    pub(crate) assignment: Assignment,
    pub(crate) store: RequestedStore,
}

/// The store of a task to restore.
pub(crate) enum RequestedStore {
    /// On disk, not open: the task was just assigned.
    Closed,
    /// Corrupt, and closed: it is deleted and rebuilt from the changelogs.
    Corrupt,
    /// Open, as of some commit: the task was rewound.
    Open(Box<dyn Store>),
}
