//! How many fetched records may wait in the tasks: a partition that has enough is paused, and while
//! all of them together have too many, nothing is fetched unless a task waits for it.

use super::running_tasks::{RunningInput, RunningTask, TaskInput};
use super::{Worker, WorkerError};
use crate::transport::Fetched;

/// Records of one input that may wait in a task.
const RECORDS_MAX: usize = 20_000;

impl Worker {
    /// Whether enough records wait to stop fetching, as long as a task can process some and make
    /// room. With many partitions, a batch of each would be far too much.
    pub(super) fn has_enough_queued(&self) -> bool {
        self.tasks.queued_bytes() > self.config.queue_bytes()
            && !self.commits.awaits_membership()
            && self.tasks.iter().any(|running| running.task.is_ready())
    }

    pub(super) fn enqueue(&mut self, fetched: Fetched) -> Result<(), WorkerError> {
        let Fetched { partition, batch } = fetched;
        // The partition was removed a moment ago: its next reader fetches these records again.
        let Some(TaskInput { task, input }) = self.tasks.reader(&partition) else {
            return Ok(());
        };
        self.tasks.get_mut(task).task.enqueue(input, batch);
        self.tasks.count_queued(task);
        let bytes_max = self.queued_bytes_max();
        let RunningTask { task, inputs, .. } = self.tasks.get_mut(task);
        let has_enough = task.queued(input) > RECORDS_MAX || task.queued_bytes(input) > bytes_max;
        if has_enough && !inputs[input].is_paused {
            inputs[input].is_paused = true;
            self.fetcher.pause(&partition)?;
        }
        Ok(())
    }

    /// Resumes the paused partitions of a task that have room for half of what they may have.
    pub(super) fn resume_partitions(&mut self, task: usize) -> Result<(), WorkerError> {
        self.tasks.count_queued(task);
        let bytes_max = self.queued_bytes_max();
        let RunningTask { task, inputs, .. } = self.tasks.get_mut(task);
        for (input, RunningInput { partition, is_paused, .. }) in inputs.iter_mut().enumerate() {
            let has_room = *is_paused
                && task.queued(input) < RECORDS_MAX / 2
                && task.queued_bytes(input) < bytes_max / 2;
            if has_room {
                *is_paused = false;
                self.fetcher.resume(partition)?;
            }
        }
        Ok(())
    }

    /// Describes what exceeds its bound between two turns: records that wait, or uncommitted table
    /// entries. A queue may exceed its bound by one fetch, all of them by one of each input that a
    /// task waited for, and overlays by one turn.
    pub(crate) fn exceeded_bound(&self) -> Option<String> {
        let records_max = RECORDS_MAX + self.config.poll_records_max;
        for RunningTask { assignment, task, inputs, .. } in self.tasks.iter() {
            let queued = (0..inputs.len()).map(|input| task.queued(input)).max();
            if let Some(queued) = queued.filter(|queued| *queued > records_max) {
                let task = assignment.task;
                return Some(format!("task {task}: {queued} records wait, of {records_max}"));
            }
        }
        let bytes_max = self.config.overlay_bytes();
        let bytes = self.overlay_bytes();
        let is_exceeded = bytes > 2 * bytes_max;
        is_exceeded.then(|| format!("{bytes} bytes are uncommitted, and {bytes_max} are the bound"))
    }

    /// Bytes of uncommitted table entries.
    pub(super) fn overlay_bytes(&self) -> usize {
        self.tasks.iter().map(|running| running.task.overlay_bytes()).sum()
    }

    /// Bytes of one input that may wait: each has the same share.
    fn queued_bytes_max(&self) -> usize {
        self.config.queue_bytes() / self.tasks.partitions().max(1)
    }
}
