//! Revoked and lost partitions: they are unassigned once their last task is closed.

use std::collections::BTreeSet;

use streams_core::{TaskId, TopicPartition};

#[derive(Debug, Default)]
pub(super) struct PendingRevocations(Vec<PendingRevocation>);

#[derive(Debug)]
struct PendingRevocation {
    partitions: Vec<TopicPartition>,
    /// Tasks that are not closed yet.
    tasks: BTreeSet<TaskId>,
}

impl PendingRevocations {
    /// Adds partitions to unassign once `tasks` are closed. Partitions that are already pending,
    /// because they were revoked before they were lost, are not unassigned twice.
    pub(super) fn add(&mut self, mut partitions: Vec<TopicPartition>, tasks: Vec<TaskId>) {
        let is_pending = |partition: &TopicPartition| {
            self.0.iter().any(|pending| pending.partitions.contains(partition))
        };
        partitions.retain(|partition| !is_pending(partition));
        self.0.push(PendingRevocation { partitions, tasks: tasks.into_iter().collect() });
    }

    pub(super) fn task_closed(&mut self, task: TaskId) {
        for pending in &mut self.0 {
            pending.tasks.remove(&task);
        }
    }

    /// Takes the partitions whose tasks are all closed, one list for each event that revoked them.
    pub(super) fn take_finished(&mut self) -> Vec<Vec<TopicPartition>> {
        let finished = self.0.extract_if(.., |pending| pending.tasks.is_empty());
        finished.map(|pending| pending.partitions).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
