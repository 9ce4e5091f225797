//! Partitions on their way out: unassigned when the last of their tasks is closed.

use std::collections::BTreeSet;

use streams_core::{TaskId, TopicPartition};

#[derive(Debug, Default)]
pub(super) struct PendingRevocations(Vec<PendingRevocation>);

#[derive(Debug)]
struct PendingRevocation {
    partitions: Vec<TopicPartition>,
    tasks: BTreeSet<TaskId>,
}

impl PendingRevocations {
    /// Notes partitions that are to be unassigned when `tasks` are closed. Those that are on their
    /// way out already, because they were revoked before they were lost, are not unassigned twice.
    pub(super) fn add(&mut self, mut partitions: Vec<TopicPartition>, tasks: Vec<TaskId>) {
        let leaving = |one: &TopicPartition| self.0.iter().any(|r| r.partitions.contains(one));
        partitions.retain(|one| !leaving(one));
        self.0.push(PendingRevocation { partitions, tasks: tasks.into_iter().collect() });
    }

    pub(super) fn released(&mut self, task: TaskId) {
        for release in &mut self.0 {
            release.tasks.remove(&task);
        }
    }

    /// The partitions that nobody touches any more, one list for each event they came with.
    pub(super) fn finished(&mut self) -> Vec<Vec<TopicPartition>> {
        let done = self.0.extract_if(.., |release| release.tasks.is_empty());
        done.map(|release| release.partitions).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
