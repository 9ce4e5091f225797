//! One partition: where it is read, and what waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::transport::TransportError;
use streams_core::{RecordBatch as _, TopicPartition};

use super::batch::PulledBatch;
use crate::wire::{Decoded, Leader, Records};

/// The number of a thread that has to do with a partition: a broker's, or [`FINDER`].
pub(super) type Hand = i32;

/// Finds out who leads a partition.
pub(super) const FINDER: Hand = -1;

pub(super) struct Partition {
    pub(super) place: TopicPartition,
    /// Who has to do with it.
    pub(super) hand: Hand,
    /// That of the leader; −1 if none was found yet.
    pub(super) leader_epoch: i32,
    /// From where the next fetch reads; `None`: from the beginning, wherever that is.
    pub(super) position: Option<i64>,
    /// Below this everything was handed out.
    pub(super) handed_out: i64,
    /// Where what may be read ended, when the broker last answered.
    pub(super) end: Option<i64>,
    /// When it answered that there is nothing behind what it has sent.
    at_end_since: Option<Instant>,
    pub(super) is_paused: bool,
    /// A request for it is on its way.
    pub(super) is_busy: bool,
    /// It failed: nothing is fetched until it is added again.
    pub(super) is_failed: bool,
    /// Why, until that is handed out.
    pub(super) failure: Option<TransportError>,
    /// It is among those that have something ready.
    pub(super) is_ready: bool,
    /// Fetched, oldest first.
    waiting: VecDeque<Waiting>,
    /// Bytes of `waiting`.
    pub(super) bytes: usize,
    /// How many bytes to ask for: fewer after an answer of which something had to be left.
    appetite: usize,
    /// Not before this, after something went wrong, for so many times since then.
    not_before: Option<Instant>,
    attempts: u32,
    /// It was refused so many times in a row.
    refusals: u32,
    pub(super) troubled_since: Option<Instant>,
}

/// Records that wait to be handed out.
struct Waiting {
    records: Arc<Records>,
    /// How many of them were handed out.
    done: usize,
    /// From where reading went on behind them.
    next: i64,
}

const APPETITE_MIN: usize = 16 << 10;
const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(320);
/// So many refusals in a row are an error: about three seconds of them. Counted, not timed: a
/// process that was frozen meanwhile has heard nothing yet, above all not who has the partition.
const REFUSALS_MAX: u32 = 14;

impl Partition {
    pub(super) fn new(place: TopicPartition, position: Option<i64>) -> Self {
        Self {
            place,
            hand: FINDER,
            leader_epoch: -1,
            position,
            handed_out: position.unwrap_or(0),
            end: None,
            at_end_since: None,
            is_paused: false,
            is_busy: false,
            is_failed: false,
            failure: None,
            is_ready: false,
            waiting: VecDeque::new(),
            bytes: 0,
            appetite: usize::MAX,
            not_before: None,
            attempts: 0,
            refusals: 0,
            troubled_since: None,
        }
    }

    /// Whether somebody should do something about it at some time.
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_failed && !self.is_busy
    }

    pub(super) fn lead(&mut self, leader: Leader) {
        (self.hand, self.leader_epoch) = (leader.broker, leader.epoch);
    }

    /// How many bytes to ask for, of `most`.
    pub(super) fn appetite(&self, most: usize) -> usize {
        self.appetite.min(most)
    }

    /// When it may be asked for.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.not_before.map_or(now, |least| least.max(now))
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether everything was handed out, and there was nothing more by an answer that is not older
    /// than `within`. A broker that has nothing answers all the time; one that has stopped to, or
    /// was not asked for a while, may have a lot by now.
    pub(super) fn is_at_end(&self, now: Instant, within: Duration) -> bool {
        let is_recent = |since: Instant| now.saturating_duration_since(since) <= within;
        self.waiting.is_empty() && self.at_end_since.is_some_and(is_recent)
    }

    /// An answer came: records, and where what may be read ends.
    pub(super) fn came(&mut self, decoded: Decoded, end: i64) {
        self.calm();
        self.end = Some(end);
        self.take_in(decoded);
        let is_at_end = self.position.is_some_and(|position| position >= end);
        self.at_end_since = is_at_end.then(Instant::now);
    }

    fn take_in(&mut self, decoded: Decoded) {
        self.appetite = match decoded.cut_at {
            Some(taken) => taken.max(APPETITE_MIN),
            // Slowly: what is left of an answer was sent for nothing.
            None => self.appetite.saturating_add(self.appetite / 8),
        };
        let Decoded { records, next: Some(next), .. } = decoded else { return };
        self.position = Some(next);
        if records.len() > 0 {
            self.bytes += records.size();
            self.waiting.push_back(Waiting { records: Arc::new(records), done: 0, next });
        } else if let Some(last) = self.waiting.back_mut() {
            // Nothing to hand out: markers, and what was aborted or compacted.
            last.next = next;
        } else {
            self.handed_out = next;
        }
    }

    /// Takes at most `most` records.
    pub(super) fn take(&mut self, most: usize) -> Option<PulledBatch> {
        let first = self.waiting.front_mut()?;
        let end = first.records.len().min(first.done.saturating_add(most));
        let (records, range) = (Arc::clone(&first.records), first.done..end);
        let batch = PulledBatch { records, range };
        first.done = end;
        if end == first.records.len() {
            self.bytes -= first.records.size();
            self.handed_out = first.next;
            self.waiting.pop_front();
        } else {
            self.handed_out = batch.record(batch.len() - 1).offset + 1;
        }
        Some(batch)
    }

    /// Something went wrong that will pass.
    pub(super) fn again(&mut self, hand: Hand) {
        // Whoever leads it now may have more.
        self.at_end_since = None;
        let now = Instant::now();
        let backoff = BACKOFF.saturating_mul(1 << self.attempts.min(10)).min(BACKOFF_MAX);
        self.not_before = Some(now + backoff);
        self.attempts += 1;
        self.troubled_since.get_or_insert(now);
        self.hand = hand;
    }

    /// It was refused. Whoever lost the partition and was not told yet hears that first, when the
    /// next owner has deleted what this one still asks for. Says whether it failed.
    pub(super) fn refused(&mut self, error: TransportError, hand: Hand) -> bool {
        self.refusals += 1;
        let is_lasting = self.refusals >= REFUSALS_MAX;
        if is_lasting {
            self.fail(error)
        } else {
            self.again(hand)
        }
        is_lasting
    }

    pub(super) fn fail(&mut self, error: TransportError) {
        self.is_failed = true;
        self.at_end_since = None;
        self.failure = Some(error);
    }

    /// Nothing is wrong any more.
    fn calm(&mut self) {
        (self.not_before, self.troubled_since) = (None, None);
        (self.attempts, self.refusals) = (0, 0);
    }
}
