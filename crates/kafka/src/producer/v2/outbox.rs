//! What the worker and the senders share: all lanes, and what failed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, Outgoing, TransportError};

use super::lane::{Batch, Lane};
use super::settings::Settings;
use crate::wire::{Identity, Leader};

pub(super) struct Outbox {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// There may be something for a sender to do.
    work: Condvar,
    /// Something was acknowledged, or failed.
    progress: Condvar,
}

struct State {
    lanes: Vec<Lane>,
    identity: Identity,
    /// Counts aborts: answers to what was sent before one mean nothing any more.
    generation: u64,
    failure: Option<Failure>,
    /// Batches that are not acknowledged.
    pending: usize,
    /// Their bytes.
    bytes: usize,
    /// Somebody waits for all of them.
    flushing: bool,
    /// Something of this transaction was on its way: the coordinator may know of it.
    started: bool,
    /// Senders that wait for the first record of a batch.
    idle: usize,
    closed: bool,
    /// Buffers of batches, to be filled again.
    spare: Vec<Vec<u8>>,
}

/// Why the transaction cannot commit.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) context: String,
    pub(super) cause: String,
}

/// A lane's number.
pub(super) type LaneId = usize;

/// Batches for one broker, to be sent by one request.
pub(super) struct Parcel {
    pub(super) identity: Identity,
    pub(super) generation: u64,
    /// With each batch's sequence number.
    pub(super) batches: Vec<(LaneId, i32, Batch)>,
}

/// What became of a batch.
pub(super) enum Outcome {
    /// It is there; its first offset, or −1 if that is not known.
    Done(i64),
    /// It has to be sent again, after a while.
    Again(Duration),
    Failed(Failure),
}

/// Bytes of records in one request.
const REQUEST_BYTES: usize = 1 << 20;
/// Buffers that are kept, and the largest of them.
const SPARE: usize = 32;
const SPARE_BYTES: usize = 512 << 10;

impl Failure {
    fn error(&self) -> TransportError {
        TransportError::new(self.kind, &*self.context, &*self.cause)
    }
}

impl Outbox {
    pub(super) fn new(settings: Settings) -> Self {
        let state = State {
            lanes: Vec::new(),
            identity: Identity { producer_id: -1, epoch: -1 },
            generation: 0,
            failure: None,
            pending: 0,
            bytes: 0,
            flushing: false,
            started: false,
            idle: 0,
            closed: false,
            spare: Vec::new(),
        };
        let (work, progress) = (Condvar::new(), Condvar::new());
        Self { settings, state: Mutex::new(state), work, progress }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_lane(&self, lane: Lane) -> LaneId {
        let mut state = self.state();
        state.lanes.push(lane);
        state.lanes.len() - 1
    }

    pub(super) fn last_offset(&self, lane: LaneId) -> Option<i64> {
        let offset = self.state().lanes.get(lane)?.last_offset;
        (offset >= 0).then_some(offset)
    }

    /// Bytes that are not acknowledged.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Whether the next record of a lane begins a batch.
    pub(super) fn is_between_batches(&self, lane: LaneId) -> bool {
        self.state().lanes[lane].is_between_batches()
    }

    /// Takes a record; waits while there is too much already, at most until `patience` is over.
    pub(super) fn add(
        &self,
        lane: LaneId,
        record: &Outgoing<'_>,
        patience: Duration,
    ) -> Result<(), TransportError> {
        let mut state = self.state();
        if state.bytes >= self.settings.buffer_bytes {
            state = self.wait_for_space(state, patience)?;
        }
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        let State { lanes, spare, .. } = &mut *state;
        let buffer = || spare.pop().unwrap_or_default();
        let added = lanes[lane].add(record, self.settings.batch_bytes, buffer);
        state.bytes += added.bytes;
        state.pending += usize::from(added.begun);
        if added.sealed || (added.begun && state.idle > 0) {
            drop(state);
            self.work.notify_all();
        }
        Ok(())
    }

    fn wait_for_space<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        patience: Duration,
    ) -> Result<MutexGuard<'a, State>, TransportError> {
        self.work.notify_all();
        let is_full = |state: &mut State| {
            state.bytes >= self.settings.buffer_bytes && state.failure.is_none()
        };
        let waited = self.progress.wait_timeout_while(state, patience, is_full);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let context = format!("sending, {} bytes in flight", state.bytes);
            let why = "not acknowledged in time";
            return Err(TransportError::new(ErrorKind::Abortable, context, why));
        }
        Ok(state)
    }

    /// Waits until everything is acknowledged.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), TransportError> {
        let mut state = self.state();
        if state.pending > 0 {
            state.flushing = true;
            self.work.notify_all();
            let is_pending = |state: &mut State| state.pending > 0 && state.failure.is_none();
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
            return Err(TransportError::new(ErrorKind::Abortable, context, why));
        }
        Ok(())
    }

    /// Who the producer is; sequence numbers begin anew.
    pub(super) fn identify(&self, identity: Identity) {
        let mut state = self.state();
        state.identity = identity;
        state.started = false;
        state.lanes.iter_mut().for_each(Lane::restart);
    }

    pub(super) fn identity(&self) -> Identity {
        self.state().identity
    }

    /// The coordinator may know of this transaction from here on.
    pub(super) fn start(&self) {
        self.state().started = true;
    }

    /// Whether the coordinator may know of this transaction.
    pub(super) fn is_started(&self) -> bool {
        self.state().started
    }

    /// Drops everything; what is on its way no longer matters.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.generation += 1;
        (state.pending, state.bytes) = (0, 0);
        // After a fatal one there is nobody who sends.
        state.failure.take_if(|failure| failure.kind != ErrorKind::Fatal);
        let State { lanes, spare, .. } = &mut *state;
        lanes.iter_mut().for_each(|lane| lane.clear(|buffer| keep(spare, buffer)));
    }

    /// A sender ended that should not have: all do, and nothing can be sent any more.
    pub(super) fn break_off(&self, why: String) {
        let mut state = self.state();
        state.closed = true;
        let context = "sending".to_owned();
        state.failure = Some(Failure { kind: ErrorKind::Fatal, context, cause: why });
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
    pub(super) fn take(&self, broker: i32) -> Option<Parcel> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            let due = state.due(broker, self.settings.linger, now);
            state = match due {
                Some(due) if due <= now => {
                    return Some(state.parcel(broker, self.settings.linger, now));
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

    /// What became of the batches of a parcel.
    pub(super) fn settle(
        &self,
        generation: u64,
        outcomes: impl IntoIterator<Item = (LaneId, Batch, Outcome)>,
    ) {
        let mut state = self.state();
        for (lane, batch, outcome) in outcomes {
            if state.generation == generation {
                state.settle(lane, batch, outcome);
            } else {
                state.lanes[lane].come_back();
                keep(&mut state.spare, batch.records.bytes);
            }
        }
        drop(state);
        self.progress.notify_all();
        // Lanes that wait for another sender now.
        self.work.notify_all();
    }

    /// Says who leads the partitions of `topic`, by their numbers, by one of [`Lane`]'s functions.
    pub(super) fn lead(&self, topic: &str, leaders: &[Leader], lead: fn(&mut Lane, Leader)) {
        let mut state = self.state();
        for lane in state.lanes.iter_mut().filter(|lane| *lane.topic == *topic) {
            let leader = usize::try_from(lane.partition).ok().and_then(|n| leaders.get(n));
            if let Some(leader) = leader {
                lead(lane, *leader);
            }
        }
        drop(state);
        self.work.notify_all();
    }

    /// Says how large a batch a topic takes; its lanes that come later are told when they are made.
    pub(super) fn limit_batches(&self, topic: &str, bytes_max: usize) {
        let mut state = self.state();
        let lanes = state.lanes.iter_mut().filter(|lane| *lane.topic == *topic);
        lanes.for_each(|lane| lane.bytes_max = bytes_max);
    }

    /// Topic and partition of a lane.
    pub(super) fn place(&self, lane: LaneId) -> (Arc<str>, i32) {
        let state = self.state();
        let lane = &state.lanes[lane];
        (Arc::clone(&lane.topic), lane.partition)
    }
}

impl State {
    /// When something may go to `broker`.
    fn due(&self, broker: i32, linger: Duration, now: Instant) -> Option<Instant> {
        let linger = if self.flushing { Duration::ZERO } else { linger };
        let lanes = self.lanes.iter().filter(|lane| lane.broker == broker);
        lanes.filter_map(|lane| lane.due(linger, now)).min()
    }

    fn parcel(&mut self, broker: i32, linger: Duration, now: Instant) -> Parcel {
        let linger = if self.flushing { Duration::ZERO } else { linger };
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let is_due =
                lane.broker == broker && lane.due(linger, now).is_some_and(|due| due <= now);
            if !is_due || bytes >= REQUEST_BYTES {
                continue;
            }
            if let Some((sequence, batch)) = lane.take() {
                bytes += batch.records.bytes.len();
                batches.push((number, sequence, batch));
            }
        }
        self.started = true;
        Parcel { identity: self.identity, generation: self.generation, batches }
    }

    fn settle(&mut self, number: LaneId, mut batch: Batch, outcome: Outcome) {
        let lane = &mut self.lanes[number];
        match outcome {
            Outcome::Done(offset) => {
                lane.acknowledged(batch.records.count, offset);
                self.pending -= 1;
                self.bytes -= batch.records.bytes.len();
                keep(&mut self.spare, batch.records.bytes);
            }
            Outcome::Again(backoff) => {
                batch.attempts += 1;
                lane.again(batch, Instant::now() + backoff);
            }
            // It stays pending: nothing of this transaction is acknowledged any more.
            Outcome::Failed(failure) => {
                lane.come_back();
                self.failure.get_or_insert(failure);
            }
        }
    }
}

fn keep(spare: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    if spare.len() < SPARE && buffer.capacity() <= SPARE_BYTES {
        spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use runtime::transport::ProducerConfig;

    use super::*;
    use crate::config::KafkaConfig;

    fn outbox() -> Outbox {
        let kafka = KafkaConfig::new("a:1").expect("brokers");
        let (transactional_id, transaction_timeout) = (Some("t".into()), Duration::from_secs(1));
        let config =
            ProducerConfig { transactional_id, transaction_timeout, buffer_bytes_max: 1 << 20 };
        Outbox::new(Settings::new(&kafka, &config).expect("known"))
    }

    #[test]
    fn what_was_sent_before_an_abort_acknowledges_nothing_behind_it() {
        let (outbox, topic) = (outbox(), Arc::from("t"));
        let lane =
            outbox.add_lane(Lane::new(Arc::clone(&topic), 0, Leader { broker: 0, epoch: 0 }));
        let (key, value, headers) = (None, Some(&[0; 100][..]), None);
        let record =
            Outgoing { topic: &topic, partition: Some(0), key, value, timestamp: 0, headers };
        let settle = |parcel: Parcel| {
            let batches = parcel.batches.into_iter();
            let done = batches.map(|(lane, _, batch)| (lane, batch, Outcome::Done(0)));
            outbox.settle(parcel.generation, done);
        };
        outbox.add(lane, &record, Duration::ZERO).expect("taken");
        let before = outbox.take(0).expect("a parcel");
        outbox.abandon();
        outbox.add(lane, &record, Duration::ZERO).expect("taken");
        settle(before);
        assert!(outbox.bytes() > 0 && outbox.flush(Duration::ZERO).is_err(), "not sent yet");
        settle(outbox.take(0).expect("a parcel"));
        outbox.flush(Duration::ZERO).expect("acknowledged");
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn an_abort_forgets_errors_but_not_that_nobody_sends_any_more() {
        let outbox = outbox();
        let (context, cause) = ("delivery".to_owned(), "too large".to_owned());
        outbox.state().failure = Some(Failure { kind: ErrorKind::Refused, context, cause });
        assert!(outbox.flush(Duration::ZERO).is_err());
        outbox.abandon();
        assert!(outbox.flush(Duration::ZERO).is_ok());
        outbox.break_off("the thread panicked".to_owned());
        outbox.abandon();
        let error = outbox.flush(Duration::ZERO).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
        assert!(outbox.take(0).is_none(), "senders end");
    }
}
