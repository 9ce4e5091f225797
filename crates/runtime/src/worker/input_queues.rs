//! What was fetched and waits in the tasks, and how much may: a partition that has enough is
//! paused, and while all of them together have too much nothing is fetched that no task waits for.

use std::collections::HashMap;

use streams_core::TopicPartition;

use super::{ActiveTask, Worker, WorkerError};
use crate::transport::Fetched;

/// Where fetched records go.
#[derive(Default)]
pub(crate) struct InputQueues {
    /// The task and the input that read a partition.
    places: HashMap<TopicPartition, (usize, usize)>,
    /// Bytes of each task's records, and of all.
    of_tasks: Vec<usize>,
    bytes: usize,
}

impl InputQueues {
    /// A task has other records than before.
    fn count(&mut self, task: usize, bytes: usize) {
        if let Some(before) = self.of_tasks.get_mut(task) {
            self.bytes = self.bytes - *before + bytes;
            *before = bytes;
        }
    }
}

/// Records of one input that may wait in a task.
const RECORDS_MAX: usize = 20_000;

impl Worker {
    /// The worker lost tasks, or has them in another order.
    pub(super) fn rebuild_queue_index(&mut self) {
        self.queues = InputQueues::default();
        (0..self.tasks.len()).for_each(|task| self.place(task));
    }

    /// Takes in where the records of one more task go.
    pub(super) fn place(&mut self, task: usize) {
        for (input, partition) in self.tasks[task].assignment.partitions.iter().enumerate() {
            self.queues.places.insert(partition.clone(), (task, input));
        }
        self.queues.of_tasks.push(0);
        self.count_queued(task);
    }

    fn count_queued(&mut self, task: usize) {
        let ActiveTask { task: active, assignment, .. } = &self.tasks[task];
        let inputs = 0..assignment.partitions.len();
        let bytes = inputs.map(|input| active.queued_bytes(input)).sum();
        self.queues.count(task, bytes);
    }

    /// Whether so much waits that nothing is fetched: as long as a task has something to do, which
    /// makes room. With many partitions a batch of each would be far too much.
    pub(super) fn has_enough_queued(&self) -> bool {
        self.queues.bytes > self.config.queue_bytes()
            && !self.awaits_membership()
            && self.tasks.iter().any(|active| active.task.is_ready())
    }

    pub(super) fn enqueue(&mut self, fetched: Fetched) -> Result<(), WorkerError> {
        let Fetched { partition, batch } = fetched;
        // A partition that was removed a moment ago: its records come again wherever it is now.
        let Some((task, input)) = self.queues.places.get(&partition).copied() else {
            return Ok(());
        };
        self.tasks[task].task.enqueue(input, batch);
        self.count_queued(task);
        let bytes_max = self.bytes_max();
        let active = &mut self.tasks[task];
        let has_enough =
            active.task.queued(input) > RECORDS_MAX || active.task.queued_bytes(input) > bytes_max;
        if has_enough && !active.paused[input] {
            active.paused[input] = true;
            self.fetcher.pause(&partition)?;
        }
        Ok(())
    }

    pub(super) fn resume_partitions(&mut self, task: usize) -> Result<(), WorkerError> {
        self.count_queued(task);
        let bytes_max = self.bytes_max();
        let ActiveTask { assignment, task, paused, .. } = &mut self.tasks[task];
        for (input, paused) in paused.iter_mut().enumerate().filter(|(_, paused)| **paused) {
            let has_space =
                task.queued(input) < RECORDS_MAX / 2 && task.queued_bytes(input) < bytes_max / 2;
            if has_space {
                *paused = false;
                self.fetcher.resume(&assignment.partitions[input])?;
            }
        }
        Ok(())
    }

    /// What is more than it should be, between two turns: records that wait, or uncommitted table
    /// entries. A queue may be over its bound by one fetch, all of them by one of each input that a
    /// task waited for, overlays by one slice.
    pub(crate) fn beyond_its_bounds(&self) -> Option<String> {
        let records_max = RECORDS_MAX + self.config.poll_records_max;
        for ActiveTask { assignment, task, .. } in &self.tasks {
            let queued = (0..assignment.partitions.len()).map(|input| task.queued(input)).max();
            if let Some(queued) = queued.filter(|queued| *queued > records_max) {
                let task = assignment.task;
                return Some(format!("task {task}: {queued} records wait, of {records_max}"));
            }
        }
        let bytes_max = self.config.overlay_bytes();
        let bytes: usize = self.tasks.iter().map(|active| active.task.overlay_bytes()).sum();
        let is_beyond = bytes > 2 * bytes_max;
        is_beyond.then(|| format!("{bytes} bytes are uncommitted, and {bytes_max} are the bound"))
    }

    /// Bytes of one input that may wait: all of them have the same part.
    fn bytes_max(&self) -> usize {
        self.config.queue_bytes() / self.queues.places.len().max(1)
    }
}
