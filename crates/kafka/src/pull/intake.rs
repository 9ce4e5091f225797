//! What the threads that fetch share with the one that polls.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::transport::{FetchProgress, Fetched, Result};
use streams_core::TopicPartition;

use super::fetcher::Share;
use super::partition::{Hand, Partition};
use super::settings::PullSettings;
use super::state::{Ask, Came, Number, QUOTA_MIN, State};
use crate::wire::Leader;

pub(super) struct Intake {
    pub(super) settings: PullSettings,
    share: Share,
    state: Mutex<State>,
    /// There may be something to fetch, or to find out.
    work: Condvar,
    /// Something came, or failed.
    arrived: Condvar,
}

/// What one request asks for.
pub(super) struct Asks {
    pub(super) asks: Vec<Ask>,
    /// How long the broker may wait until there is something.
    pub(super) wait: Duration,
    /// How much may come of all.
    pub(super) bytes: usize,
    /// How much each may become when it is decompressed.
    pub(super) decoded_bytes: usize,
}

/// How long a broker may wait while there are partitions that were not asked for: they may be any
/// moment.
const SHORT: Duration = Duration::from_millis(5);
/// Partitions are added one after another.
const FRESH: Duration = Duration::from_millis(30);

impl Intake {
    pub(super) fn new(settings: PullSettings, share: Share) -> Self {
        let (work, arrived) = (Condvar::new(), Condvar::new());
        Self { settings, share, state: Mutex::default(), work, arrived }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `place` from `position` on, from now on.
    pub(super) fn add(&self, place: &TopicPartition, position: Option<i64>) {
        let mut state = self.state();
        // It stays with who had it.
        let before = state.remove(place);
        state.last += 1;
        let number = state.last;
        let mut partition = Partition::new(place.clone(), position);
        if let Some(Partition { hand, leader_epoch, .. }) = before {
            (partition.hand, partition.leader_epoch) = (hand, leader_epoch);
        }
        state.partitions.insert(number, partition);
        state.numbers.insert(place.clone(), number);
        state.fresh_until = Some(Instant::now() + FRESH);
        drop(state);
        self.work.notify_all();
    }

    pub(super) fn remove(&self, place: &TopicPartition) {
        self.state().remove(place);
        self.work.notify_all();
    }

    pub(super) fn pause(&self, place: &TopicPartition, is_paused: bool) {
        let mut state = self.state();
        let Some(number) = state.numbers.get(place).copied() else { return };
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

    /// Waits for records, at most for `timeout`, and hands out at most `most`.
    pub(super) fn poll(&self, timeout: Duration, most: usize) -> Result<Vec<Fetched>> {
        let is_waiting = |state: &mut State| {
            let has_failed = state.broken.is_some() || !state.failed.is_empty();
            state.ready.is_empty() && !state.is_woken && !has_failed
        };
        let mut state = self.state();
        if is_waiting(&mut state) && !timeout.is_zero() {
            let waited = self.arrived.wait_timeout_while(state, timeout, is_waiting);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_woken = false;
        let (fetched, made_space) = state.hand_out(most, &self.share);
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

    /// One of the threads ended that should not have: all do, and whoever polls is told.
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

    /// How far `place` was handed out.
    pub(super) fn position(&self, place: &TopicPartition) -> Option<i64> {
        let state = self.state();
        let number = state.numbers.get(place)?;
        Some(state.partitions.get(number)?.handed_out)
    }

    pub(super) fn is_at_end(&self, place: &TopicPartition) -> bool {
        let state = self.state();
        let partition = state.numbers.get(place).and_then(|number| state.partitions.get(number));
        partition.is_some_and(|one| one.is_at_end(Instant::now(), self.settings.answer_within()))
    }

    pub(super) fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        let state = self.state();
        let known = |one: &Partition| {
            Some((one.place.clone(), FetchProgress { position: one.handed_out, end: one.end? }))
        };
        state.partitions.values().filter_map(known).collect()
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.state().partitions.values().map(|one| one.bytes).sum()
    }

    /// Partitions that are with their leaders, as far as is known.
    pub(super) fn led(&self) -> Vec<(Number, TopicPartition)> {
        self.state().led()
    }

    /// Hands partitions to leaders that are later than those that they are with.
    pub(super) fn follow(&self, all: impl IntoIterator<Item = (Number, Leader)>) {
        let mut state = self.state();
        all.into_iter().for_each(|(number, leader)| state.follow(number, leader));
        drop(state);
        self.work.notify_all();
    }

    /// Waits until there is something to do for `hand`; at most until `until`, and then for
    /// nothing. `None` when it has to end.
    pub(super) fn take(&self, hand: Hand, until: Option<Instant>) -> Option<Asks> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            let now = Instant::now();
            let room = state.room(&self.share);
            let due = state.due(hand, room, now).into_iter().chain(until).min();
            state = match due {
                Some(due) if due <= now => {
                    let partition_bytes = self.settings.partition_bytes.min(room.quota);
                    let (asks, is_all) = state.asks(hand, room, partition_bytes, now);
                    let is_fresh = state.fresh_until.is_some_and(|until| until > now);
                    let longest = self.settings.wait;
                    let wait = if is_all && !is_fresh { longest } else { SHORT.min(longest) };
                    let bytes = (self.share.bytes() / 4)
                        .clamp(QUOTA_MIN, self.settings.answer_bytes.max(QUOTA_MIN));
                    return Some(Asks { asks, wait, bytes, decoded_bytes: room.quota });
                }
                Some(due) => {
                    let waited = self.work.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// What came of what was taken.
    pub(super) fn settle(&self, all: impl IntoIterator<Item = (Number, Came)>) {
        let (now, within) = (Instant::now(), self.settings.answer_within());
        let mut state = self.state();
        for (number, came) in all {
            let knew = state.is_at_end(number, now, within);
            state.settle(number, came);
            // A task may be waiting for just this, with nothing to come.
            state.is_woken |= !knew && state.is_at_end(number, now, within);
        }
        drop(state);
        self.arrived.notify_all();
        self.work.notify_all();
    }
}

/// What is to be read, shared by all of its threads.
pub(super) type SharedIntake = Arc<Intake>;

#[cfg(test)]
mod tests {
    use runtime::transport::{ErrorKind, TransportError};

    use super::super::partition::FINDER;
    use super::*;
    use crate::config::KafkaConfig;
    use crate::wire::{BatchWriter, Compression, Compressor, Decoder, Stamp};

    fn intake() -> Intake {
        let kafka = KafkaConfig::new("a:1").expect("brokers");
        let settings = PullSettings::new(&kafka, true).expect("known");
        Intake::new(settings, Share::new(64 << 20))
    }

    fn place() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn error() -> TransportError {
        TransportError::new(ErrorKind::Refused, "fetching t-0", "gone")
    }

    /// Answers what is asked for `hand` next.
    fn answer(intake: &Intake, hand: Hand, came: Came) {
        let asks = intake.take(hand, None).expect("open").asks;
        intake.settle([(asks[0].number, came)]);
    }

    fn poll(intake: &Intake) -> Result<usize> {
        intake.poll(Duration::ZERO, 1).map(|fetched| fetched.len())
    }

    #[test]
    fn an_error_goes_with_its_partition() {
        for adds_again in [false, true] {
            let intake = intake();
            intake.add(&place(), Some(0));
            answer(&intake, FINDER, Came::Failed(error()));
            if adds_again {
                intake.add(&place(), Some(7));
            } else {
                intake.remove(&place());
            }
            assert!(matches!(poll(&intake), Ok(0)));
        }
        let intake = intake();
        intake.add(&place(), Some(0));
        answer(&intake, FINDER, Came::Failed(error()));
        assert!(poll(&intake).is_err(), "it is of a partition that is still read");
        assert!(matches!(poll(&intake), Ok(0)), "once");
    }

    #[test]
    fn a_later_leader_is_followed_and_an_earlier_one_is_not() {
        let intake = intake();
        intake.add(&place(), Some(0));
        let led_by = |broker, epoch| Leader { broker, epoch };
        answer(&intake, FINDER, Came::Leader(led_by(1, 5)));
        let number = intake.led()[0].0;
        let is_with = |broker| {
            let asks = intake.take(broker, Some(Instant::now())).expect("open").asks;
            intake.state().partitions.values_mut().for_each(|one| one.is_busy = false);
            !asks.is_empty()
        };
        intake.follow([(number, led_by(2, 4)), (number, led_by(2, 5))]);
        assert!(is_with(1) && !is_with(2), "somebody tells how things were");
        let asked = intake.take(1, None).expect("open").asks;
        intake.follow([(number, led_by(2, 6))]);
        assert!(intake.take(2, Some(Instant::now())).expect("open").asks.is_empty(), "on its way");
        intake.settle(asked.into_iter().map(|ask| (ask.number, Came::Leader(led_by(2, 6)))));
        assert!(is_with(2) && !is_with(1));
    }

    #[test]
    fn who_polls_is_told_that_nothing_comes_any_more() {
        let intake = intake();
        intake.add(&place(), Some(0));
        intake.break_off("the thread panicked".to_owned());
        for _ in 0..2 {
            let error = poll(&intake).expect_err("broken");
            assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
        }
        assert!(intake.take(FINDER, None).is_none(), "the others end");
    }

    fn answered(records: &[&str], end: i64) -> Came {
        let mut writer = BatchWriter::new(Vec::new());
        records.iter().for_each(|value| writer.add(0, (None, Some(value.as_bytes())), None));
        let mut bytes = Vec::new();
        if !records.is_empty() {
            let stamp = Stamp { producer_id: 1, epoch: 0, sequence: 0 };
            Compressor::new(Compression::Lz4).append(&writer.finish(), stamp, &mut bytes);
        }
        let (aborted, spare, bytes_max) = (&mut Vec::new(), &Arc::default(), usize::MAX);
        let mut decoder = Decoder { from: 0, read_committed: true, aborted, bytes_max, spare };
        Came::Records(decoder.decode(&bytes).expect("good"), end)
    }

    /// Answers as a broker does that has much of each: in the order of the request, as far as the
    /// request's bytes reach.
    fn answer_much(intake: &Intake) -> Vec<Number> {
        let text = "x".repeat(60 << 10);
        let taken = intake.take(1, Some(Instant::now())).expect("open");
        let mut left = taken.bytes;
        let came = taken.asks.iter().map(|ask| {
            let texts = [&*text];
            let fits = left >= text.len();
            left = left.saturating_sub(text.len());
            (ask.number, answered(if fits { &texts } else { &[] }, 1_000))
        });
        intake.settle(came.collect::<Vec<_>>());
        taken.asks.into_iter().map(|ask| ask.number).collect()
    }

    #[test]
    fn many_partitions_share_what_may_wait() {
        let kafka = KafkaConfig::new("a:1").expect("brokers");
        let settings = PullSettings::new(&kafka, true).expect("known");
        let share = 1 << 20;
        let intake = Intake::new(settings, Share::new(share));
        let places: Vec<_> = (0..200).map(|number| TopicPartition::new("t", number)).collect();
        places.iter().for_each(|place| intake.add(place, Some(0)));
        let asks = intake.take(FINDER, None).expect("open").asks;
        let leader = Leader { broker: 1, epoch: 5 };
        intake.settle(asks.into_iter().map(|ask| (ask.number, Came::Leader(leader))));
        while !answer_much(&intake).is_empty() {}
        let most = share + share / 4 + (64 << 10);
        assert!(intake.waiting_bytes() >= share, "there was more");
        assert!(intake.waiting_bytes() <= most, "{} wait, of {most}", intake.waiting_bytes());

        // What is paused does not keep the others from being read.
        let waits = |place: &TopicPartition| {
            let state = intake.state();
            state.partitions[&state.numbers[place]].bytes > 0
        };
        let (full, empty): (Vec<_>, Vec<_>) = places.iter().partition(|place| waits(place));
        full.iter().for_each(|place| intake.pause(place, true));
        intake.poll(Duration::ZERO, 1_000).expect("nothing failed");
        assert_eq!(answer_much(&intake).len(), empty.len());
        // And once it is taken, more of it may come.
        full.iter().for_each(|place| intake.pause(place, false));
        while intake.poll(Duration::ZERO, 1_000).is_ok_and(|fetched| !fetched.is_empty()) {}
        assert_eq!(intake.waiting_bytes(), 0);
        assert_eq!(answer_much(&intake).len(), places.len());
    }

    #[test]
    fn the_end_is_known_while_the_broker_answers_and_all_was_handed_out() {
        let intake = intake();
        intake.add(&place(), Some(0));
        answer(&intake, FINDER, Came::Leader(Leader { broker: 1, epoch: 5 }));
        assert!(!intake.is_at_end(&place()), "nobody was asked");
        answer(&intake, 1, answered(&["a", "b"], 2));
        assert!(!intake.is_at_end(&place()), "two records wait");
        assert!(intake.poll(Duration::ZERO, 9).is_ok_and(|fetched| fetched.len() == 1));
        assert!(intake.is_at_end(&place()));
        let expected = FetchProgress { position: 2, end: 2 };
        assert_eq!(intake.progress(), [(place(), expected)]);
        let later = Instant::now() + intake.settings.answer_within() + Duration::from_millis(1);
        let number = intake.led()[0].0;
        let within = intake.settings.answer_within();
        assert!(!intake.state().is_at_end(number, later, within), "the answer is too old");
        answer(&intake, 1, answered(&[], 7));
        assert!(!intake.is_at_end(&place()), "there is more than came");
        answer(&intake, 1, answered(&[], 2));
        assert!(intake.is_at_end(&place()));
        answer(&intake, 1, Came::Again);
        assert!(!intake.is_at_end(&place()), "somebody else may lead it");
    }

    /// With nothing to come it would sleep until its time is over.
    #[test]
    fn whoever_waits_for_the_end_is_woken() {
        let intake = intake();
        intake.add(&place(), Some(0));
        answer(&intake, FINDER, Came::Leader(Leader { broker: 1, epoch: 5 }));
        answer(&intake, 1, answered(&[], 0));
        let began = Instant::now();
        assert!(intake.poll(Duration::from_secs(20), 1).is_ok_and(|fetched| fetched.is_empty()));
        answer(&intake, 1, answered(&[], 0));
        assert!(intake.poll(Duration::from_millis(50), 1).is_ok());
        let waited = began.elapsed();
        assert!((50..10_000).contains(&waited.as_millis()), "it woke once: {waited:?}");
    }

    #[test]
    fn a_refusal_is_an_error_only_if_it_lasts() {
        let intake = intake();
        intake.add(&place(), Some(0));
        let began = Instant::now();
        loop {
            answer(&intake, FINDER, Came::Refused(error()));
            if poll(&intake).is_err() {
                break;
            }
        }
        let lasted = began.elapsed();
        assert!((2..6).contains(&lasted.as_secs()), "{lasted:?}");
    }
}
