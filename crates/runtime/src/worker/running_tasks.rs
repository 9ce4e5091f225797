//! The tasks that run on a worker, and which of their inputs read which partition.

use std::collections::HashMap;

use streams_core::{TableName, Task, TopicPartition};

use super::input_waits::InputWait;
use super::processing::TurnBudget;
use crate::assignment::Assignment;
use crate::messages::{ChangelogEnd, RestoredTask};

/// The tasks of a worker, numbered from 0. A number is valid until a task is removed.
#[derive(Default)]
pub(super) struct RunningTasks {
    tasks: Vec<RunningTask>,
    /// The task that has the next turn.
    next_turn: usize,
    /// The input that reads each partition.
    readers: HashMap<TopicPartition, TaskInput>,
    /// Bytes of records that wait in all tasks.
    queued_bytes: usize,
}

/// An input of a task, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskInput {
    pub(super) task: usize,
    pub(super) input: usize,
}

pub(super) struct RunningTask {
    pub(super) assignment: Assignment,
    pub(super) task: Task,
    /// In the order of the sub-topology's sources.
    pub(super) inputs: Vec<RunningInput>,
    /// In the order of the sub-topology's tables.
    pub(super) changelogs: Vec<RunningChangelog>,
    pub(super) budget: TurnBudget,
    queued_bytes: usize,
}

pub(super) struct RunningInput {
    pub(super) partition: TopicPartition,
    /// Whether fetching is paused, because enough records wait in the task.
    pub(super) is_paused: bool,
    pub(super) wait: InputWait,
}

pub(super) struct RunningChangelog {
    pub(super) table: TableName,
    pub(super) partition: TopicPartition,
    /// The offset after the last record that this application has sent to it, as far as is known.
    pub(super) end: i64,
}

impl RunningTasks {
    pub(super) fn push(&mut self, task: RunningTask) {
        self.tasks.push(task);
        self.index(self.tasks.len() - 1);
    }

    /// Removes all tasks.
    pub(super) fn take_all(&mut self) -> Vec<RunningTask> {
        let tasks = std::mem::take(&mut self.tasks);
        self.reindex();
        tasks
    }

    /// Removes the tasks that this instance has no right to any more.
    pub(super) fn take_released(&mut self) -> Vec<RunningTask> {
        let is_released = |running: &mut RunningTask| !running.assignment.lease.is_held();
        let released = self.tasks.extract_if(.., is_released).collect();
        self.reindex();
        released
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RunningTask> {
        self.tasks.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut RunningTask> {
        self.tasks.iter_mut()
    }

    pub(super) fn get(&self, task: usize) -> &RunningTask {
        &self.tasks[task]
    }

    pub(super) fn get_mut(&mut self, task: usize) -> &mut RunningTask {
        &mut self.tasks[task]
    }

    /// The task that has the next turn, in a round. There must be one.
    pub(super) fn next_turn(&mut self) -> usize {
        let task = self.next_turn % self.tasks.len();
        self.next_turn = task + 1;
        task
    }

    /// The input that a partition's records go to.
    pub(super) fn reader(&self, partition: &TopicPartition) -> Option<TaskInput> {
        self.readers.get(partition).copied()
    }

    /// How many partitions are read.
    pub(super) fn partitions(&self) -> usize {
        self.readers.len()
    }

    /// Bytes of records that wait in all tasks.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Counts the records that wait in a task again, after some were added or processed.
    pub(super) fn count_queued(&mut self, task: usize) {
        let running = &mut self.tasks[task];
        let bytes = running.count_queued_bytes();
        self.queued_bytes = self.queued_bytes - running.queued_bytes + bytes;
        running.queued_bytes = bytes;
    }

    fn reindex(&mut self) {
        self.readers.clear();
        self.queued_bytes = 0;
        for task in 0..self.tasks.len() {
            self.tasks[task].queued_bytes = 0;
            self.index(task);
        }
    }

    fn index(&mut self, task: usize) {
        for (input, RunningInput { partition, .. }) in self.tasks[task].inputs.iter().enumerate() {
            self.readers.insert(partition.clone(), TaskInput { task, input });
        }
        self.count_queued(task);
    }
}

impl From<RestoredTask> for RunningTask {
    fn from(restored: RestoredTask) -> Self {
        let inputs = restored.inputs.into_iter().map(|start| RunningInput {
            partition: start.partition,
            is_paused: false,
            wait: InputWait::default(),
        });
        let changelogs = restored.changelogs.into_iter().map(|changelog| {
            let ChangelogEnd { table, partition, end } = changelog;
            RunningChangelog { table, partition, end }
        });
        Self {
            assignment: restored.assignment,
            task: restored.task,
            inputs: inputs.collect(),
            changelogs: changelogs.collect(),
            budget: TurnBudget::default(),
            queued_bytes: 0,
        }
    }
}

impl RunningTask {
    fn count_queued_bytes(&self) -> usize {
        (0..self.inputs.len()).map(|input| self.task.queued_bytes(input)).sum()
    }
}
