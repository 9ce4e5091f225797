//! What the restorers and the member tell a worker.

use streams_core::{TableName, Task, TopicPartition};

use crate::assignment::Assignment;

pub(crate) enum WorkerMessage {
    /// Take over a task that is up to date.
    Activate(Box<RestoredTask>),
    /// Leases were revoked or lost: look at them.
    LeasesChanged,
}

/// A task that is ready to run.
pub(crate) struct RestoredTask {
    pub(crate) assignment: Assignment,
    pub(crate) task: Task,
    /// Its inputs, in the order of the sub-topology's sources.
    pub(crate) inputs: Vec<InputStart>,
    /// Its tables, in their order.
    pub(crate) changelogs: Vec<ChangelogEnd>,
}

/// Where an input resumes.
pub(crate) struct InputStart {
    pub(crate) partition: TopicPartition,
    /// The next offset to fetch.
    pub(crate) offset: i64,
}

/// Where a table's changelog ends with what this application has committed.
pub(crate) struct ChangelogEnd {
    pub(crate) table: TableName,
    pub(crate) partition: TopicPartition,
    /// The offset after the last committed entry, as far as is known.
    pub(crate) end: i64,
}
