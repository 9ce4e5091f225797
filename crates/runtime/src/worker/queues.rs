//! What was fetched and waits in the tasks, and how much may: a partition that has enough is
//! paused.

use std::collections::HashMap;

use streams_core::TopicPartition;

use super::{Active, Trouble, Worker};
use crate::transport::Fetched;

/// Where fetched records go.
#[derive(Default)]
pub(crate) struct Queues {
    /// The task and the input that read a partition.
    places: HashMap<TopicPartition, (usize, usize)>,
}

/// Records of one input that may wait in a task.
const RECORDS_MAX: usize = 20_000;

/// Bytes of one input that may always wait.
const BYTES_MIN: usize = 64 << 10;

impl Worker {
    /// The worker lost tasks, or has them in another order.
    pub(super) fn places_changed(&mut self) {
        self.queues.places.clear();
        (0..self.tasks.len()).for_each(|task| self.place(task));
    }

    /// Takes in where the records of one more task go.
    pub(super) fn place(&mut self, task: usize) {
        for (input, partition) in self.tasks[task].assignment.partitions.iter().enumerate() {
            self.queues.places.insert(partition.clone(), (task, input));
        }
    }

    pub(super) fn enqueue(&mut self, fetched: Fetched) -> Result<(), Trouble> {
        let Fetched { partition, batch } = fetched;
        // A partition that was removed a moment ago: its records come again wherever it is now.
        let Some((task, input)) = self.queues.places.get(&partition).copied() else {
            return Ok(());
        };
        let bytes_max = self.bytes_max();
        let active = &mut self.tasks[task];
        active.task.enqueue(input, batch);
        let has_enough =
            active.task.queued(input) > RECORDS_MAX || active.task.queued_bytes(input) > bytes_max;
        if has_enough && !active.paused[input] {
            active.paused[input] = true;
            self.fetcher.pause(&partition)?;
        }
        Ok(())
    }

    pub(super) fn resume_partitions(&mut self, task: usize) -> Result<(), Trouble> {
        let bytes_max = self.bytes_max();
        let Active { assignment, task, paused, .. } = &mut self.tasks[task];
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
    /// entries. A queue may be over its bound by one fetch, overlays by one slice.
    pub(crate) fn beyond_its_bounds(&self) -> Option<String> {
        let records_max = RECORDS_MAX + self.config.poll_records_max;
        for Active { assignment, task, .. } in &self.tasks {
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
        (self.config.queue_bytes() / self.queues.places.len().max(1)).max(BYTES_MIN)
    }
}
