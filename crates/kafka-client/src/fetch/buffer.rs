//! What the threads that fetch share with the one that polls.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::FetchedBatch;
use super::fetcher::MemoryShare;
use super::partition::{BrokerId, PartitionState};
use super::state::{
    FetchId, FetchState, PartitionFetch, PartitionOutcome, PartitionProgress, QUOTA_MIN,
};
use crate::Result;
use crate::partition::PartitionId;
use crate::requests::Leader;
use crate::settings::FetchSettings;

pub(super) struct FetchBuffer {
    pub(super) settings: FetchSettings,
    share: MemoryShare,
    state: Mutex<FetchState>,
    /// There may be something to fetch, or a leader to find.
    work: Condvar,
    /// Something came, or failed.
    arrived: Condvar,
}

/// What one request asks for.
pub(super) struct FetchPlan {
    pub(super) partitions: Vec<PartitionFetch>,
    /// How long the broker may wait until there is something.
    pub(super) wait: Duration,
    /// How many bytes the response may have.
    pub(super) bytes: usize,
    /// How many bytes each partition's part may become when it is decompressed.
    pub(super) decoded_bytes: usize,
}

/// How long a broker may wait while some of its partitions are not in the request: they may be
/// wanted any moment.
const SHORT: Duration = Duration::from_millis(5);
/// Partitions are added one after another.
const FRESH: Duration = Duration::from_millis(30);

impl FetchBuffer {
    pub(super) fn new(settings: FetchSettings, share: MemoryShare) -> Self {
        let work = Condvar::new();
        let arrived = Condvar::new();
        Self { settings, share, state: Mutex::default(), work, arrived }
    }

    fn state(&self) -> MutexGuard<'_, FetchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `id` from `position` on, from now on.
    pub(super) fn add(&self, id: &PartitionId, position: Option<i64>) {
        let mut state = self.state();
        // It stays with the leader that was found.
        let before = state.remove(id);
        state.last += 1;
        let number = state.last;
        let mut partition = PartitionState::new(id.clone(), position);
        if let Some(PartitionState { broker, leader_epoch, .. }) = before {
            partition.broker = broker;
            partition.leader_epoch = leader_epoch;
        }
        state.partitions.insert(number, partition);
        state.numbers.insert(id.clone(), number);
        state.fresh_until = Some(Instant::now() + FRESH);
        drop(state);
        self.work.notify_all();
    }

    pub(super) fn remove(&self, id: &PartitionId) {
        self.state().remove(id);
        self.work.notify_all();
    }

    pub(super) fn pause(&self, id: &PartitionId, is_paused: bool) {
        let mut state = self.state();
        let Some(number) = state.numbers.get(id).copied() else { return };
        let Some(partition) = state.partitions.get_mut(&number) else { return };
        partition.is_paused = is_paused;
        let becomes_ready = !is_paused && partition.has_waiting() && !partition.is_ready;
        if becomes_ready {
            partition.is_ready = true;
            state.ready.push_back(number);
        }
        if !is_paused {
            state.fresh_until = Some(Instant::now() + FRESH);
        }
        drop(state);
        self.work.notify_all();
    }

    /// Waits for records, at most for `timeout`, and delivers at most `most`.
    pub(super) fn poll(&self, timeout: Duration, most: usize) -> Result<Vec<FetchedBatch>> {
        let is_waiting = |state: &mut FetchState| {
            let has_failed = state.broken.is_some() || !state.failed.is_empty();
            state.ready.is_empty() && !state.is_woken && !has_failed
        };
        let mut state = self.state();
        if is_waiting(&mut state) && !timeout.is_zero() {
            let waited = self.arrived.wait_timeout_while(state, timeout, is_waiting);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_woken = false;
        let (fetched, made_space) = state.collect(most, &self.share);
        if fetched.is_empty()
            && let Some(failure) = state.take_failure()
        {
            return Err(failure);
        }
        drop(state);
        if made_space {
            self.work.notify_all();
        }
        Ok(fetched)
    }

    /// Ends a wait in [`poll`](Self::poll).
    pub(super) fn wake(&self) {
        self.state().is_woken = true;
        self.arrived.notify_all();
    }

    /// A thread has ended that should not have: all of them end, and the next poll says why.
    pub(super) fn break_off(&self, why: String) {
        let mut state = self.state();
        state.is_closed = true;
        state.broken.get_or_insert(why);
        drop(state);
        self.arrived.notify_all();
        self.work.notify_all();
    }

    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.work.notify_all();
    }

    /// How far `id` was delivered.
    pub(super) fn position(&self, id: &PartitionId) -> Option<i64> {
        let state = self.state();
        let number = state.numbers.get(id)?;
        Some(state.partitions.get(number)?.delivered)
    }

    pub(super) fn is_at_end(&self, id: &PartitionId) -> bool {
        let state = self.state();
        let partition = state.numbers.get(id).and_then(|number| state.partitions.get(number));
        partition.is_some_and(|one| one.is_at_end(Instant::now(), self.settings.response_within()))
    }

    pub(super) fn progress(&self) -> Vec<(PartitionId, PartitionProgress)> {
        let state = self.state();
        let known = |one: &PartitionState| {
            Some((one.id.clone(), PartitionProgress { position: one.delivered, end: one.end? }))
        };
        state.partitions.values().filter_map(known).collect()
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.state().partitions.values().map(|one| one.bytes).sum()
    }

    /// Partitions that are with their leaders, as far as is known.
    pub(super) fn led(&self) -> Vec<(FetchId, PartitionId)> {
        self.state().led()
    }

    /// Hands partitions to leaders that are later than those that they are with.
    pub(super) fn follow(&self, all: impl IntoIterator<Item = (FetchId, Leader)>) {
        let mut state = self.state();
        all.into_iter().for_each(|(number, leader)| state.follow(number, leader));
        drop(state);
        self.work.notify_all();
    }

    /// Waits until there is something to do at `broker`. At `until` it returns without anything to
    /// do. `None` when the thread has to end.
    pub(super) fn take(&self, broker: BrokerId, until: Option<Instant>) -> Option<FetchPlan> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            let now = Instant::now();
            let capacity = state.capacity(&self.share);
            let due = state.due(broker, capacity, now).into_iter().chain(until).min();
            state = match due {
                Some(due) if due <= now => {
                    let partition_bytes = self.settings.partition_bytes.min(capacity.quota);
                    let (partitions, is_all) = state.plan(broker, capacity, partition_bytes, now);
                    let is_fresh = state.fresh_until.is_some_and(|until| until > now);
                    let longest = self.settings.wait;
                    let wait = if is_all && !is_fresh { longest } else { SHORT.min(longest) };
                    let bytes = (self.share.bytes() / 4)
                        .clamp(QUOTA_MIN, self.settings.response_bytes.max(QUOTA_MIN));
                    return Some(FetchPlan {
                        partitions,
                        wait,
                        bytes,
                        decoded_bytes: capacity.quota,
                    });
                }
                Some(due) => {
                    let waited = self.work.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Takes in what came of a plan.
    pub(super) fn complete(&self, all: impl IntoIterator<Item = (FetchId, PartitionOutcome)>) {
        let now = Instant::now();
        let within = self.settings.response_within();
        let mut state = self.state();
        for (number, outcome) in all {
            let knew = state.is_at_end(number, now, within);
            state.complete(number, outcome);
            // A task may be waiting for just this, with nothing to come.
            state.is_woken |= !knew && state.is_at_end(number, now, within);
        }
        drop(state);
        self.arrived.notify_all();
        self.work.notify_all();
    }
}

/// Shared by all threads that fill it.
pub(super) type SharedFetchBuffer = Arc<FetchBuffer>;

#[cfg(test)]
mod tests {
    use super::super::partition::NO_LEADER;
    use super::*;
    use crate::error::{ErrorClass, KafkaClientError};
    use crate::records::{BatchBuilder, BatchProducer, Compression, Compressor, RecordsDecoder};

    fn buffer() -> FetchBuffer {
        FetchBuffer::new(FetchSettings::plain("a:1"), MemoryShare::new(64 << 20))
    }

    fn id() -> PartitionId {
        PartitionId::new("t", 0)
    }

    fn error() -> KafkaClientError {
        KafkaClientError::new(ErrorClass::Refused, "fetching t-0", "gone")
    }

    /// Responds to what is requested of `broker` next.
    fn respond(buffer: &FetchBuffer, broker: BrokerId, outcome: PartitionOutcome) {
        let partitions = buffer.take(broker, None).expect("open").partitions;
        buffer.complete([(partitions[0].number, outcome)]);
    }

    fn poll(buffer: &FetchBuffer) -> Result<usize> {
        buffer.poll(Duration::ZERO, 1).map(|fetched| fetched.len())
    }

    #[test]
    fn an_error_goes_with_its_partition() {
        for adds_again in [false, true] {
            let buffer = buffer();
            buffer.add(&id(), Some(0));
            respond(&buffer, NO_LEADER, PartitionOutcome::Failed(error()));
            if adds_again {
                buffer.add(&id(), Some(7));
            } else {
                buffer.remove(&id());
            }
            assert!(matches!(poll(&buffer), Ok(0)));
        }
        let buffer = buffer();
        buffer.add(&id(), Some(0));
        respond(&buffer, NO_LEADER, PartitionOutcome::Failed(error()));
        assert!(poll(&buffer).is_err(), "it is of a partition that is still read");
        assert!(matches!(poll(&buffer), Ok(0)), "once");
    }

    #[test]
    fn a_later_leader_is_followed_and_an_earlier_one_is_not() {
        let buffer = buffer();
        buffer.add(&id(), Some(0));
        let led_by = |broker, epoch| Leader { broker, epoch };
        respond(&buffer, NO_LEADER, PartitionOutcome::Leader(led_by(1, 5)));
        let number = buffer.led()[0].0;
        let is_with = |broker| {
            let partitions = buffer.take(broker, Some(Instant::now())).expect("open").partitions;
            buffer.state().partitions.values_mut().for_each(|one| one.is_busy = false);
            !partitions.is_empty()
        };
        buffer.follow([(number, led_by(2, 4)), (number, led_by(2, 5))]);
        assert!(is_with(1) && !is_with(2), "a broker tells how things were");
        let asked = buffer.take(1, None).expect("open").partitions;
        buffer.follow([(number, led_by(2, 6))]);
        assert!(
            buffer.take(2, Some(Instant::now())).expect("open").partitions.is_empty(),
            "in flight"
        );
        buffer.complete(
            asked.into_iter().map(|fetch| (fetch.number, PartitionOutcome::Leader(led_by(2, 6)))),
        );
        assert!(is_with(2) && !is_with(1));
    }

    #[test]
    fn a_poll_fails_when_nothing_comes_any_more() {
        let buffer = buffer();
        buffer.add(&id(), Some(0));
        buffer.break_off("the thread panicked".to_owned());
        for _ in 0..2 {
            let error = poll(&buffer).expect_err("broken");
            assert_eq!(error.class(), ErrorClass::Fatal, "{error}");
        }
        assert!(buffer.take(NO_LEADER, None).is_none(), "the others end");
    }

    fn response(records: &[&str], end: i64) -> PartitionOutcome {
        let mut writer = BatchBuilder::new(Vec::new());
        records.iter().for_each(|value| writer.add(0, None, Some(value.as_bytes()), None));
        let mut bytes = Vec::new();
        if !records.is_empty() {
            let producer = BatchProducer { producer_id: 1, epoch: 0, sequence: 0 };
            Compressor::new(Compression::Lz4).append(&writer.finish(), producer, &mut bytes);
        }
        let aborted = &mut Vec::new();
        let pool = &Arc::default();
        let bytes_max = usize::MAX;
        let mut decoder =
            RecordsDecoder { from: 0, read_committed: true, aborted, bytes_max, pool };
        PartitionOutcome::Records(decoder.decode(&bytes).expect("good"), end)
    }

    /// Responds as a broker does that has much of each: in the order of the request, as far as the
    /// request's bytes reach.
    fn respond_with_much(buffer: &FetchBuffer) -> Vec<FetchId> {
        let text = "x".repeat(60 << 10);
        let taken = buffer.take(1, Some(Instant::now())).expect("open");
        let mut left = taken.bytes;
        let outcome = taken.partitions.iter().map(|fetch| {
            let texts = [&*text];
            let fits = left >= text.len();
            left = left.saturating_sub(text.len());
            (fetch.number, response(if fits { &texts } else { &[] }, 1_000))
        });
        buffer.complete(outcome.collect::<Vec<_>>());
        taken.partitions.into_iter().map(|fetch| fetch.number).collect()
    }

    #[test]
    fn many_partitions_share_what_may_wait() {
        let share = 1 << 20;
        let settings = FetchSettings::plain("a:1");
        let buffer = FetchBuffer::new(settings, MemoryShare::new(share));
        let ids: Vec<_> = (0..200).map(|number| PartitionId::new("t", number)).collect();
        ids.iter().for_each(|id| buffer.add(id, Some(0)));
        let partitions = buffer.take(NO_LEADER, None).expect("open").partitions;
        let leader = Leader { broker: 1, epoch: 5 };
        buffer.complete(
            partitions.into_iter().map(|fetch| (fetch.number, PartitionOutcome::Leader(leader))),
        );
        while !respond_with_much(&buffer).is_empty() {}
        let most = share + share / 4 + (64 << 10);
        assert!(buffer.waiting_bytes() >= share, "there was more");
        assert!(buffer.waiting_bytes() <= most, "{} wait, of {most}", buffer.waiting_bytes());

        // What is paused does not keep the others from being read.
        let waits = |id: &PartitionId| {
            let state = buffer.state();
            state.partitions[&state.numbers[id]].bytes > 0
        };
        let (full, empty): (Vec<_>, Vec<_>) = ids.iter().partition(|id| waits(id));
        full.iter().for_each(|id| buffer.pause(id, true));
        buffer.poll(Duration::ZERO, 1_000).expect("nothing failed");
        assert_eq!(respond_with_much(&buffer).len(), empty.len());
        // And once it is taken, more of it may come.
        full.iter().for_each(|id| buffer.pause(id, false));
        while buffer.poll(Duration::ZERO, 1_000).is_ok_and(|fetched| !fetched.is_empty()) {}
        assert_eq!(buffer.waiting_bytes(), 0);
        assert_eq!(respond_with_much(&buffer).len(), ids.len());
    }

    #[test]
    fn the_end_is_known_while_the_broker_answers_and_all_was_delivered() {
        let buffer = buffer();
        buffer.add(&id(), Some(0));
        respond(&buffer, NO_LEADER, PartitionOutcome::Leader(Leader { broker: 1, epoch: 5 }));
        assert!(!buffer.is_at_end(&id()), "no broker was asked");
        respond(&buffer, 1, response(&["a", "b"], 2));
        assert!(!buffer.is_at_end(&id()), "two records wait");
        assert!(buffer.poll(Duration::ZERO, 9).is_ok_and(|fetched| fetched.len() == 1));
        assert!(buffer.is_at_end(&id()));
        let expected = PartitionProgress { position: 2, end: 2 };
        assert_eq!(buffer.progress(), [(id(), expected)]);
        let later = Instant::now() + buffer.settings.response_within() + Duration::from_millis(1);
        let number = buffer.led()[0].0;
        let within = buffer.settings.response_within();
        assert!(!buffer.state().is_at_end(number, later, within), "the response is too old");
        respond(&buffer, 1, response(&[], 7));
        assert!(!buffer.is_at_end(&id()), "there is more than came");
        respond(&buffer, 1, response(&[], 2));
        assert!(buffer.is_at_end(&id()));
        respond(&buffer, 1, PartitionOutcome::Retry);
        assert!(!buffer.is_at_end(&id()), "another broker may lead it");
    }

    /// With nothing to come it would sleep until its time is over.
    #[test]
    fn a_poll_that_waits_for_the_end_is_woken() {
        let buffer = buffer();
        buffer.add(&id(), Some(0));
        respond(&buffer, NO_LEADER, PartitionOutcome::Leader(Leader { broker: 1, epoch: 5 }));
        respond(&buffer, 1, response(&[], 0));
        let began = Instant::now();
        assert!(buffer.poll(Duration::from_secs(20), 1).is_ok_and(|fetched| fetched.is_empty()));
        respond(&buffer, 1, response(&[], 0));
        assert!(buffer.poll(Duration::from_millis(50), 1).is_ok());
        let waited = began.elapsed();
        assert!((50..10_000).contains(&waited.as_millis()), "it woke once: {waited:?}");
    }

    #[test]
    fn a_refusal_is_an_error_only_if_it_lasts() {
        let buffer = buffer();
        buffer.add(&id(), Some(0));
        let began = Instant::now();
        loop {
            respond(&buffer, NO_LEADER, PartitionOutcome::Refused(error()));
            if poll(&buffer).is_err() {
                break;
            }
        }
        let lasted = began.elapsed();
        assert!((2..6).contains(&lasted.as_secs()), "{lasted:?}");
    }
}
