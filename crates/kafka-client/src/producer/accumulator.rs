//! The accumulator: what the caller and the senders share. It holds the queues of all partitions,
//! and what failed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::partition_queue::{PartitionQueue, ProducerBatch};
use crate::Result;
use crate::error::{ErrorClass, KafkaClientError};
use crate::record::ProducerRecord;
use crate::requests::{Leader, ProducerIdAndEpoch};
use crate::settings::ProducerSettings;

pub(super) struct Accumulator {
    pub(super) settings: ProducerSettings,
    state: Mutex<AccumulatorState>,
    /// There may be something for a sender to do.
    work: Condvar,
    /// Something was acknowledged, or failed.
    progress: Condvar,
}

struct AccumulatorState {
    queues: Vec<PartitionQueue>,
    producer: ProducerIdAndEpoch,
    /// Counts aborts: a response to what was sent before one means nothing afterwards.
    generation: u64,
    failure: Option<TransactionFailure>,
    /// Batches that are not acknowledged.
    pending: usize,
    /// Their bytes.
    bytes: usize,
    /// A flush waits for all of them.
    flushing: bool,
    /// Something of this transaction was sent: the coordinator may know of it.
    is_started: bool,
    /// Senders that wait for the first record of a batch.
    idle: usize,
    closed: bool,
    /// Buffers of batches, to be filled again.
    buffers: Vec<Vec<u8>>,
}

/// Why the transaction cannot commit.
#[derive(Clone)]
pub(super) struct TransactionFailure {
    pub(super) class: ErrorClass,
    pub(super) context: String,
    pub(super) cause: String,
}

/// The number of a partition's queue.
pub(super) type QueueId = usize;

/// Batches for one broker, to be sent by one request.
pub(super) struct DrainedBatches {
    pub(super) producer: ProducerIdAndEpoch,
    pub(super) generation: u64,
    pub(super) batches: Vec<DrainedBatch>,
}

/// A batch that is in flight.
pub(super) struct DrainedBatch {
    pub(super) queue: QueueId,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The sequence number of its first record.
    pub(super) sequence: i32,
    pub(super) batch: ProducerBatch,
}

/// What became of a batch.
pub(super) enum BatchOutcome {
    /// It is there; its first offset, or −1 if that is not known.
    Done(i64),
    /// It has to be sent again, after a while.
    Retry(Duration),
    Failed(TransactionFailure),
}

/// Bytes of records in one request.
const REQUEST_BYTES: usize = 1 << 20;
/// How many buffers are kept.
const BUFFERS_MAX: usize = 32;
/// Larger ones are not kept.
const BUFFER_BYTES_MAX: usize = 512 << 10;

impl TransactionFailure {
    fn error(&self) -> KafkaClientError {
        KafkaClientError::new(self.class, &*self.context, &*self.cause)
    }
}

impl Accumulator {
    pub(super) fn new(settings: ProducerSettings) -> Self {
        let state = AccumulatorState {
            queues: Vec::new(),
            producer: ProducerIdAndEpoch { producer_id: -1, epoch: -1 },
            generation: 0,
            failure: None,
            pending: 0,
            bytes: 0,
            flushing: false,
            is_started: false,
            idle: 0,
            closed: false,
            buffers: Vec::new(),
        };
        let work = Condvar::new();
        let progress = Condvar::new();
        Self { settings, state: Mutex::new(state), work, progress }
    }

    fn state(&self) -> MutexGuard<'_, AccumulatorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_queue(&self, queue: PartitionQueue) -> QueueId {
        let mut state = self.state();
        state.queues.push(queue);
        state.queues.len() - 1
    }

    pub(super) fn last_offset(&self, queue: QueueId) -> Option<i64> {
        let offset = self.state().queues.get(queue)?.last_offset;
        (offset >= 0).then_some(offset)
    }

    /// Bytes that are not acknowledged.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Whether the next record of a partition begins a batch.
    pub(super) fn is_between_batches(&self, queue: QueueId) -> bool {
        self.state().queues[queue].is_between_batches()
    }

    /// Appends a record; waits while there is too much already, at most for `timeout`.
    pub(super) fn append(
        &self,
        queue: QueueId,
        record: &ProducerRecord<'_>,
        timeout: Duration,
    ) -> Result<()> {
        let mut state = self.state();
        if state.bytes >= self.settings.buffer_bytes {
            state = self.wait_for_space(state, timeout)?;
        }
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        let AccumulatorState { queues, buffers, .. } = &mut *state;
        let buffer = || buffers.pop().unwrap_or_default();
        let appended = queues[queue].append(record, self.settings.batch_bytes, buffer);
        state.bytes += appended.bytes;
        state.pending += usize::from(appended.begun);
        if appended.closed || (appended.begun && state.idle > 0) {
            drop(state);
            self.work.notify_all();
        }
        Ok(())
    }

    fn wait_for_space<'a>(
        &'a self,
        state: MutexGuard<'a, AccumulatorState>,
        timeout: Duration,
    ) -> Result<MutexGuard<'a, AccumulatorState>> {
        self.work.notify_all();
        let is_full = |state: &mut AccumulatorState| {
            state.bytes >= self.settings.buffer_bytes && state.failure.is_none()
        };
        let waited = self.progress.wait_timeout_while(state, timeout, is_full);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let context = format!("sending, {} bytes in flight", state.bytes);
            let why = "not acknowledged in time";
            return Err(KafkaClientError::new(ErrorClass::Abortable, context, why));
        }
        Ok(state)
    }

    /// Waits until everything is acknowledged.
    pub(super) fn flush(&self, timeout: Duration) -> Result<()> {
        let mut state = self.state();
        if state.pending > 0 {
            state.flushing = true;
            self.work.notify_all();
            let is_pending =
                |state: &mut AccumulatorState| state.pending > 0 && state.failure.is_none();
            let waited = self.progress.wait_timeout_while(state, timeout, is_pending);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.flushing = false;
        }
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        if state.pending > 0 {
            let context = format!("flushing, {} batches in flight", state.pending);
            let why = "not acknowledged in time";
            return Err(KafkaClientError::new(ErrorClass::Abortable, context, why));
        }
        Ok(())
    }

    /// Sets who the producer is. Its sequence numbers start from 0.
    pub(super) fn identify(&self, producer: ProducerIdAndEpoch) {
        let mut state = self.state();
        state.producer = producer;
        state.is_started = false;
        state.queues.iter_mut().for_each(PartitionQueue::restart);
    }

    pub(super) fn producer(&self) -> ProducerIdAndEpoch {
        self.state().producer
    }

    /// The coordinator may know of this transaction from here on.
    pub(super) fn start(&self) {
        self.state().is_started = true;
    }

    /// Whether the coordinator may know of this transaction.
    pub(super) fn is_started(&self) -> bool {
        self.state().is_started
    }

    /// Drops everything; what is in flight no longer matters.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.pending = 0;
        state.bytes = 0;
        // After a fatal one nothing sends any more.
        state.failure.take_if(|failure| failure.class != ErrorClass::Fatal);
        let AccumulatorState { queues, buffers, .. } = &mut *state;
        queues.iter_mut().for_each(|queue| queue.clear(|buffer| keep(buffers, buffer)));
    }

    /// A sender has ended that should not have: all of them end, and nothing can be sent any more.
    pub(super) fn break_off(&self, why: String) {
        let mut state = self.state();
        state.closed = true;
        let context = "sending".to_owned();
        state.failure = Some(TransactionFailure { class: ErrorClass::Fatal, context, cause: why });
        drop(state);
        self.progress.notify_all();
        self.work.notify_all();
    }

    /// Lets the senders end.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
    }

    /// Waits until there is something for `broker`'s sender; `None` when it has to end.
    pub(super) fn drain(&self, broker: i32) -> Option<DrainedBatches> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            let due = state.due(broker, self.settings.linger, now);
            state = match due {
                Some(due) if due <= now => {
                    return Some(state.drain(broker, self.settings.linger, now));
                }
                Some(due) => {
                    let waited = self.work.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    state.idle += 1;
                    let waited = self.work.wait(state);
                    let mut state = waited.unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                    state
                }
            };
        }
    }

    /// Takes in what became of drained batches.
    pub(super) fn complete(
        &self,
        generation: u64,
        outcomes: impl IntoIterator<Item = (QueueId, ProducerBatch, BatchOutcome)>,
    ) {
        let mut state = self.state();
        for (queue, batch, outcome) in outcomes {
            if state.generation == generation {
                state.complete(queue, batch, outcome);
            } else {
                state.queues[queue].returned();
                keep(&mut state.buffers, batch.records.bytes);
            }
        }
        drop(state);
        self.progress.notify_all();
        // Some queues wait for another sender now.
        self.work.notify_all();
    }

    /// Sets the leaders of the partitions of `topic`, by their numbers, by one of
    /// [`PartitionQueue`]'s functions.
    pub(super) fn lead(
        &self,
        topic: &str,
        leaders: &[Leader],
        lead: fn(&mut PartitionQueue, Leader),
    ) {
        let mut state = self.state();
        for queue in state.queues.iter_mut().filter(|queue| *queue.topic == *topic) {
            let leader = usize::try_from(queue.partition).ok().and_then(|n| leaders.get(n));
            if let Some(leader) = leader {
                lead(queue, *leader);
            }
        }
        drop(state);
        self.work.notify_all();
    }

    /// Sets how large a batch a topic takes; queues that are added later have it from the start.
    pub(super) fn limit_batches(&self, topic: &str, bytes_max: usize) {
        let mut state = self.state();
        let queues = state.queues.iter_mut().filter(|queue| *queue.topic == *topic);
        queues.for_each(|queue| queue.bytes_max = bytes_max);
    }
}

impl AccumulatorState {
    /// When something may go to `broker`.
    fn due(&self, broker: i32, linger: Duration, now: Instant) -> Option<Instant> {
        let linger = if self.flushing { Duration::ZERO } else { linger };
        let queues = self.queues.iter().filter(|queue| queue.broker == broker);
        queues.filter_map(|queue| queue.due(linger, now)).min()
    }

    fn drain(&mut self, broker: i32, linger: Duration, now: Instant) -> DrainedBatches {
        let linger = if self.flushing { Duration::ZERO } else { linger };
        let mut batches = Vec::new();
        let mut bytes = 0;
        for (number, queue) in self.queues.iter_mut().enumerate() {
            let is_due =
                queue.broker == broker && queue.due(linger, now).is_some_and(|due| due <= now);
            if !is_due || bytes >= REQUEST_BYTES {
                continue;
            }
            if let Some((sequence, batch)) = queue.take() {
                bytes += batch.records.bytes.len();
                let topic = Arc::clone(&queue.topic);
                let partition = queue.partition;
                batches.push(DrainedBatch { queue: number, topic, partition, sequence, batch });
            }
        }
        self.is_started = true;
        DrainedBatches { producer: self.producer, generation: self.generation, batches }
    }

    fn complete(&mut self, number: QueueId, mut batch: ProducerBatch, outcome: BatchOutcome) {
        let queue = &mut self.queues[number];
        match outcome {
            BatchOutcome::Done(offset) => {
                queue.acknowledged(batch.records.count, offset);
                self.pending -= 1;
                self.bytes -= batch.records.bytes.len();
                keep(&mut self.buffers, batch.records.bytes);
            }
            BatchOutcome::Retry(backoff) => {
                batch.attempts += 1;
                queue.retry(batch, Instant::now() + backoff);
            }
            // It stays pending: nothing of this transaction is acknowledged any more.
            BatchOutcome::Failed(failure) => {
                queue.returned();
                self.failure.get_or_insert(failure);
            }
        }
    }
}

fn keep(buffers: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    if buffers.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_BYTES_MAX {
        buffers.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accumulator() -> Accumulator {
        Accumulator::new(ProducerSettings::plain("a:1"))
    }

    #[test]
    fn what_was_sent_before_an_abort_acknowledges_nothing_after_it() {
        let accumulator = accumulator();
        let topic = Arc::from("t");
        let leader = Leader { broker: 0, epoch: 0 };
        let queue = PartitionQueue::new(Arc::clone(&topic), 0, leader);
        let queue = accumulator.add_queue(queue);
        let key = None;
        let value = Some(&[0; 100][..]);
        let headers = None;
        let record =
            ProducerRecord { topic: &topic, partition: Some(0), key, value, timestamp: 0, headers };
        let complete = |drained: DrainedBatches| {
            let batches = drained.batches.into_iter();
            let done = batches.map(|one| (one.queue, one.batch, BatchOutcome::Done(0)));
            accumulator.complete(drained.generation, done);
        };
        accumulator.append(queue, &record, Duration::ZERO).expect("taken");
        let before = accumulator.drain(0).expect("batches");
        accumulator.abandon();
        accumulator.append(queue, &record, Duration::ZERO).expect("taken");
        complete(before);
        assert!(
            accumulator.bytes() > 0 && accumulator.flush(Duration::ZERO).is_err(),
            "not sent yet"
        );
        complete(accumulator.drain(0).expect("batches"));
        accumulator.flush(Duration::ZERO).expect("acknowledged");
        assert_eq!(accumulator.bytes(), 0);
    }

    #[test]
    fn an_abort_forgets_errors_except_that_nothing_sends_any_more() {
        let accumulator = accumulator();
        let context = "delivery".to_owned();
        let cause = "too large".to_owned();
        accumulator.state().failure =
            Some(TransactionFailure { class: ErrorClass::Refused, context, cause });
        assert!(accumulator.flush(Duration::ZERO).is_err());
        accumulator.abandon();
        assert!(accumulator.flush(Duration::ZERO).is_ok());
        accumulator.break_off("the thread panicked".to_owned());
        accumulator.abandon();
        let error = accumulator.flush(Duration::ZERO).expect_err("broken");
        assert_eq!(error.class(), ErrorClass::Fatal, "{error}");
        assert!(accumulator.drain(0).is_none(), "senders end");
    }
}
