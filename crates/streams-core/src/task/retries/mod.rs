//! Retries of failed records, for a source whose error policy is
//! [`ErrorPolicy::retry`](crate::ErrorPolicy::retry).
//!
//! The records wait in a table of the task (`rows.rs` has its bytes, `queue.rs` its order). So the
//! effects of a retry and the end of the wait are committed together. Each row says which reader of
//! the source it is for: the operators, or one of the agents, which may take a while for it
//! (`readers.rs`).

mod queue;
mod readers;
mod rows;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use self::queue::RetryQueue;
pub(super) use self::rows::Waiting;
use self::rows::{HELD, RetryKey};
use super::Task;
use super::progress::Progress;
use super::step::Step;
use crate::error::panic_text;
use crate::error::{Cause, Failure, FailureKind, RecordError, TaskError};
use crate::moment::Moment;
use crate::policy::Retry;
use crate::record::{OwnedBatch, OwnedRecord, RecordBatch, Timestamp};
use crate::task_context::TaskContext;
use crate::topology::{SubTopology, Topology};
use crate::window::millis;

/// The reader name of a source's operators.
pub(super) const OPERATORS: &str = Progress::OPERATORS;

/// Whether a record has to wait for earlier ones.
enum Waits {
    No,
    Behind,
    /// It has to wait but cannot, because its row is too large.
    Refused(Cause),
}

/// The waiting records of a task's inputs.
pub(super) struct Retries {
    /// For each input; `None` if its policy has no retries.
    queues: Box<[Option<RetryQueue>]>,
    /// Half a record that the last step did not give to retries.
    odd: usize,
}

impl Retries {
    pub(super) fn new(topology: &Topology, sub: &SubTopology) -> Self {
        let queues = sub.sources.iter().map(|source| {
            let holds = source.policy.retries()?.hold_key;
            let table = source.retries?;
            Some(RetryQueue::new(table, &topology.table_names[table], holds))
        });
        Self { queues: queues.collect(), odd: 0 }
    }

    /// How many records wait.
    pub(super) fn waiting(&self) -> u64 {
        self.queues.iter().flatten().map(|queue| queue.waiting).sum()
    }

    /// When the first record is due, on the monotonic clock.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.queues.iter().flatten().filter_map(RetryQueue::next_due).min()
    }

    /// How many of a step's records may be retries: half of them, if there are other records. So
    /// neither kind blocks the other, however many there are.
    fn share(&mut self, records_max: usize, has_others: bool) -> usize {
        if !has_others {
            return records_max;
        }
        let halves = records_max.saturating_add(self.odd);
        self.odd = halves % 2;
        halves / 2
    }
}

impl Task {
    /// Resumes with the rows in the tables.
    pub(super) fn resume_retries(&mut self, now: Moment) -> Result<(), TaskError> {
        let topology = Arc::clone(&self.topology);
        let sources = &topology.sub_topologies[self.id.sub_topology].sources;
        for (input, source) in sources.iter().enumerate() {
            let operators = self.inputs[input].operators_from;
            let agents = self.inputs[input].agents_from.clone();
            let position = |reader: &str| match reader {
                OPERATORS => operators,
                // A record that waits for a removed agent is not read again.
                _ => source.agent(reader).map_or(i64::MAX, |agent| agents[agent]),
            };
            self.with_queue(input, |queue, cx| queue.resume(&mut cx.tables, &position, now))?;
        }
        Ok(())
    }

    /// Whether a retry is due.
    pub(super) fn has_due_retry(&self) -> bool {
        let due = self.retries.next_due().filter(|due| *due <= self.cx().elapsed);
        due.is_some() && !self.waits_for_agents()
    }

    /// When the next retry is due, unless one is already: the next step handles that.
    pub(super) fn next_retry(&self) -> Option<Timestamp> {
        self.retries.next_due().filter(|due| *due > self.cx().elapsed)
    }

    /// How many records of a step may be retries.
    pub(super) fn share_of_retries(&mut self, records_max: usize) -> usize {
        if !self.has_due_retry() {
            return 0;
        }
        let has_others = self.has_queued() && self.missing().next().is_none();
        self.retries.share(records_max, has_others)
    }

    /// Whether records of this input may have to wait for earlier ones with their key. Then they
    /// are processed [one by one](Self::step_one).
    pub(super) fn may_hold(&self, input: usize) -> bool {
        self.retries.queues[input].as_ref().is_some_and(RetryQueue::may_hold)
    }

    /// Processes the next record of an input, or lets it wait for earlier ones.
    pub(super) fn step_one(&mut self, input: usize, step: &mut Step) -> Result<(), TaskError> {
        let Some((batch, index)) = self.inputs[input].take_batch() else { return Ok(()) };
        let waits = self.step_behind(input, &*batch, index, step);
        let is_done = matches!(waits, Ok(true));
        if is_done {
            self.pass(input, &*batch, index);
            step.processed += 1;
        }
        self.inputs[input].put_back(batch, index + usize::from(is_done));
        if waits? { Ok(()) } else { self.step_input(input, step.processed + 1, step) }
    }

    /// Lets the operators' part of a record wait if it has to, and gives the record to the agents,
    /// which decide for themselves. Returns `false` if it need not wait.
    fn step_behind(
        &mut self,
        input: usize,
        batch: &dyn RecordBatch,
        index: usize,
        step: &mut Step,
    ) -> Result<bool, TaskError> {
        let raw = batch.record(index);
        if raw.offset < self.inputs[input].operators_from {
            return Ok(false);
        }
        let place = RetryKey::new(OPERATORS, raw.key);
        // What is written from here on belongs to no record that could be undone.
        self.begin(input, batch, index, false);
        let waits = self.wait_behind(input, place, || OwnedRecord::of(batch, index))?;
        if let Waits::No = waits {
            return Ok(false);
        }
        let topology = Arc::clone(&self.topology);
        if let (Waits::Refused(refused), Some(retry)) = (waits, self.retry_of(&topology, input)) {
            let record = OwnedRecord::of(batch, index);
            step.failed.push(self.end(input, &record, refused, &retry.then)?);
        }
        self.run_agents(input, batch, index, &mut step.failed)?;
        Ok(true)
    }

    /// Lets a record wait if earlier ones with its retry key do.
    fn wait_behind(
        &mut self,
        input: usize,
        place: RetryKey,
        record: impl FnOnce() -> OwnedRecord,
    ) -> Result<Waits, TaskError> {
        let holds = self.with_queue(input, |queue, cx| queue.holds(&mut cx.tables, &place))?;
        if holds != Some(true) {
            return Ok(Waits::No);
        }
        let waiting = Waiting { place, due: HELD, attempts: 0, record: record() };
        let refused =
            self.refused(input, |queue, cx| queue.add(&mut cx.tables, &waiting, cx.elapsed))?;
        Ok(refused.map_or(Waits::Behind, Waits::Refused))
    }

    /// Handles a record that failed for the first time at a reader: it waits for a retry, or ends.
    pub(super) fn wait_or_end(
        &mut self,
        input: usize,
        reader: &str,
        record: &OwnedRecord,
        cause: Cause,
        retry: &Retry,
    ) -> Result<RecordError, TaskError> {
        let place = RetryKey::new(reader, record.key.as_deref());
        let waiting = Waiting { place, due: HELD, attempts: 1, record: record.clone() };
        self.try_later_or_end(input, waiting, None, cause, retry)
    }

    /// Retries a record that is due. Returns `false` if there is none.
    pub(super) fn try_again(&mut self, step: &mut Step) -> Result<bool, TaskError> {
        let queues = self.retries.queues.iter().enumerate();
        let due = queues.filter_map(|(input, queue)| Some((queue.as_ref()?.next_due()?, input)));
        let Some((_, input)) = due.min() else { return Ok(false) };
        let due =
            |queue: &mut RetryQueue, cx: &mut TaskContext| queue.due(&mut cx.tables, cx.elapsed);
        let Some(found) = self.with_queue(input, due)?.flatten() else { return Ok(false) };
        self.touched = true;
        step.processed += 1;
        if found.place.reader() != OPERATORS {
            self.give_again(input, found, &mut step.failed)?;
            return Ok(true);
        }
        let batch = OwnedBatch::from(vec![found.record.clone()]);
        let mark = self.begin(input, &batch, 0, true);
        let failure = self.run_operators(input, &batch);
        // User code may have hidden an error that must stop the task.
        let failure = self.cx_mut().stop.take().map_or(failure, Err);
        let Err(failure) = failure else {
            self.succeeded(input, &found)?;
            return Ok(true);
        };
        let cause = self.record_cause(failure)?;
        if let Some(mark) = mark {
            self.cx_mut().undo_record(mark);
        }
        self.failed_again(input, found, cause, &mut step.failed)?;
        Ok(true)
    }

    /// Handles a waiting record that has succeeded.
    pub(super) fn succeeded(&mut self, input: usize, found: &Waiting) -> Result<(), TaskError> {
        self.cx_mut().metrics.retries += u64::from(found.attempts > 0);
        self.with_queue(input, |queue, cx| queue.remove(&mut cx.tables, found)).map(drop)
    }

    /// Handles a waiting record that has failed. If it only waited for others, this was its first
    /// attempt.
    fn failed_again(
        &mut self,
        input: usize,
        found: Waiting,
        cause: Cause,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        self.cx_mut().metrics.retries += u64::from(found.attempts > 0);
        let topology = Arc::clone(&self.topology);
        if let Some(retry) = self.retry_of(&topology, input) {
            let again = Waiting { attempts: found.attempts.saturating_add(1), ..found.clone() };
            failed.push(self.try_later_or_end(input, again, Some(&found), cause, retry)?);
        }
        Ok(())
    }

    /// Runs the operators alone on the one record of a batch. A panic of user code is an error.
    fn run_operators(&mut self, input: usize, batch: &dyn RecordBatch) -> Result<(), Failure> {
        let topology = Arc::clone(&self.topology);
        let source = &topology.sub_topologies[self.id.sub_topology].sources[input];
        let record = batch.record(0);
        let cx = self.cx_mut();
        let run = || source.receivers.iter().try_for_each(|one| one.receive(&record, cx));
        let run = catch_unwind(AssertUnwindSafe(run));
        run.unwrap_or_else(|panic| Err(Cause::Panic(panic_text(&*panic)).into()))
    }

    /// Handles a record that has failed `waiting.attempts` times. `found` is its row, if it has
    /// one.
    fn try_later_or_end(
        &mut self,
        input: usize,
        mut waiting: Waiting,
        found: Option<&Waiting>,
        mut cause: Cause,
        retry: &Retry,
    ) -> Result<RecordError, TaskError> {
        let attempt = waiting.attempts;
        let of = retry.attempts_in_all();
        if attempt < of && retry.is_worth(&cause) {
            let wait = retry.backoff.after(attempt, self.seed(waiting.record.offset));
            let wait_ms = millis(wait);
            let refused = self.refused(input, |queue, cx| {
                let elapsed = cx.elapsed;
                waiting.due = queue.date(elapsed).saturating_add(wait_ms).max(HELD + 1);
                match found {
                    Some(found) => queue.put_off(&mut cx.tables, found, &waiting, elapsed),
                    None => queue.add(&mut cx.tables, &waiting, elapsed),
                }
            })?;
            let Some(refused) = refused else {
                let again_in = Some(Duration::from_millis(wait_ms.unsigned_abs()));
                let cause = Cause::Retried { cause: cause.into(), attempt, of, again_in };
                return Ok(self.error(input, waiting.record.offset, cause));
            };
            cause = Cause::NoRetry { cause: cause.into(), refused: refused.into() };
        }
        if let Some(found) = found {
            self.with_queue(input, |queue, cx| queue.remove(&mut cx.tables, found))?;
        }
        let cause = Cause::Retried { cause: cause.into(), attempt, of, again_in: None };
        self.end(input, &waiting.record, cause, &retry.then)
    }

    /// Makes the pauses of records that failed together differ, if there is jitter.
    fn seed(&self, offset: i64) -> u64 {
        let partition = u64::from(self.id.partition.unsigned_abs());
        offset.unsigned_abs() ^ partition.rotate_right(16)
    }

    fn retry_of<'t>(&self, topology: &'t Topology, input: usize) -> Option<&'t Retry> {
        topology.sub_topologies[self.id.sub_topology].sources[input].policy.retries()
    }

    /// Runs something that may refuse the record. Returns why it was refused.
    fn refused(
        &mut self,
        input: usize,
        act: impl FnOnce(&mut RetryQueue, &mut TaskContext) -> Result<(), Failure>,
    ) -> Result<Option<Cause>, TaskError> {
        let mut refused = None;
        self.with_queue(input, |queue, cx| match act(queue, cx).map_err(Failure::kind) {
            Err(FailureKind::Record(cause)) => {
                refused = Some(cause);
                Ok(())
            }
            Err(kind) => Err(kind.into()),
            Ok(()) => Ok(()),
        })?;
        Ok(refused)
    }

    /// Runs something with the waiting records of an input. `None` if its policy has no retries.
    fn with_queue<T>(
        &mut self,
        input: usize,
        act: impl FnOnce(&mut RetryQueue, &mut TaskContext) -> Result<T, Failure>,
    ) -> Result<Option<T>, TaskError> {
        let queue = &mut self.retries.queues[input];
        let cx = &mut self.cx;
        let done = queue.as_mut().zip(cx.as_deref_mut()).map(|(queue, cx)| act(queue, cx));
        done.transpose().map_err(|failure| self.stopped(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_get_half_of_the_records_of_even_the_smallest_step() {
        let mut retries = Retries { queues: Box::default(), odd: 0 };
        let mut shares = |records_max| [(); 4].map(|()| retries.share(records_max, true));
        assert_eq!(shares(1), [0, 1, 0, 1]);
        assert_eq!(shares(7), [3, 4, 3, 4]);
        assert_eq!(shares(1_000), [500; 4]);
        assert_eq!(retries.share(7, false), 7);
    }
}
