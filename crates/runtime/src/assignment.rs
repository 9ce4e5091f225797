//! A task that this instance was assigned: what every component on its way needs to know.

use std::sync::Arc;

use streams_core::{TableName, TaskId, TaskMetrics, TopicPartition};

use crate::lease::Lease;

#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) task: TaskId,
    /// The partitions of its inputs, in the order of the sub-topology's sources.
    pub(crate) inputs: Vec<TopicPartition>,
    /// Its tables, in the order of the sub-topology's tables.
    pub(crate) tables: Vec<AssignedTable>,
    /// The name under which its store is kept.
    pub(crate) store_name: Arc<str>,
    pub(crate) threads: TaskThreads,
    pub(crate) lease: Arc<Lease>,
    /// What the task had counted when it was last rewound.
    pub(crate) carried: TaskMetrics,
}

/// A table of a task, with the partition of its changelog.
#[derive(Clone, Debug)]
pub(crate) struct AssignedTable {
    pub(crate) name: TableName,
    pub(crate) changelog: TopicPartition,
}

/// The threads that serve a task, by their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskThreads {
    pub(crate) worker: usize,
    pub(crate) restorer: usize,
}
