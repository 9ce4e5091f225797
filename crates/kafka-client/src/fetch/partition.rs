//! One partition: where it is read, and what waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::FetchedBatch;
use crate::error::KafkaClientError;
use crate::partition::PartitionId;
use crate::records::{DecodedRecords, FetchedRecords};
use crate::requests::Leader;

/// The id of the broker that a partition is fetched from, or [`NO_LEADER`]. Each has a thread.
pub(super) type BrokerId = i32;

/// The partition's leader has to be found first.
pub(super) const NO_LEADER: BrokerId = -1;

pub(super) struct PartitionState {
    pub(super) id: PartitionId,
    /// Where it is fetched from.
    pub(super) broker: BrokerId,
    /// The leader's epoch; −1 if none was found yet.
    pub(super) leader_epoch: i32,
    /// From where the next fetch reads; `None`: from the beginning, wherever that is.
    pub(super) position: Option<i64>,
    /// Everything below this was delivered.
    pub(super) delivered: i64,
    /// Where what may be read ended, when the broker last answered.
    pub(super) end: Option<i64>,
    /// When it answered that nothing follows what it has sent.
    at_end_since: Option<Instant>,
    pub(super) is_paused: bool,
    /// A request for it is in flight.
    pub(super) is_busy: bool,
    /// It failed: nothing is fetched until it is added again.
    pub(super) is_failed: bool,
    /// Why, until that is delivered.
    pub(super) failure: Option<KafkaClientError>,
    /// It is among those that have something ready.
    pub(super) is_ready: bool,
    /// Fetched, oldest first.
    waiting: VecDeque<CompletedFetch>,
    /// Bytes of `waiting`.
    pub(super) bytes: usize,
    /// How many bytes to ask for: fewer after a response of which something had to be left out.
    fetch_bytes: usize,
    /// After an error it is not asked for before this.
    not_before: Option<Instant>,
    /// How many errors there were in a row.
    attempts: u32,
    /// How many refusals there were in a row.
    refusals: u32,
    pub(super) failing_since: Option<Instant>,
}

/// Records that wait to be delivered.
struct CompletedFetch {
    records: Arc<FetchedRecords>,
    /// How many of them were delivered.
    done: usize,
    /// The offset from which reading went on after them.
    next: i64,
}

const FETCH_BYTES_MIN: usize = 16 << 10;
const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(320);
/// This many refusals in a row are an error: about three seconds of them. They are counted, not
/// timed, because a process that was frozen meanwhile has heard nothing yet. Above all it has not
/// heard which instance owns the partition now.
const REFUSALS_MAX: u32 = 14;

impl PartitionState {
    pub(super) fn new(id: PartitionId, position: Option<i64>) -> Self {
        Self {
            id,
            broker: NO_LEADER,
            leader_epoch: -1,
            position,
            delivered: position.unwrap_or(0),
            end: None,
            at_end_since: None,
            is_paused: false,
            is_busy: false,
            is_failed: false,
            failure: None,
            is_ready: false,
            waiting: VecDeque::new(),
            bytes: 0,
            fetch_bytes: usize::MAX,
            not_before: None,
            attempts: 0,
            refusals: 0,
            failing_since: None,
        }
    }

    /// Whether it should be requested at some time.
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_failed && !self.is_busy
    }

    pub(super) fn lead(&mut self, leader: Leader) {
        self.broker = leader.broker;
        self.leader_epoch = leader.epoch;
    }

    /// How many bytes to ask for, of `most`.
    pub(super) fn fetch_bytes(&self, most: usize) -> usize {
        self.fetch_bytes.min(most)
    }

    /// When it may be asked for.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.not_before.map_or(now, |least| least.max(now))
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether everything was delivered, and a response that is not older than `within` said that
    /// there was nothing more. A broker that has nothing answers all the time. One that does not,
    /// or was not asked for a while, may have a lot by now.
    pub(super) fn is_at_end(&self, now: Instant, within: Duration) -> bool {
        let is_recent = |since: Instant| now.saturating_duration_since(since) <= within;
        self.waiting.is_empty() && self.at_end_since.is_some_and(is_recent)
    }

    /// A response came: records, and where what may be read ends.
    pub(super) fn received(&mut self, decoded: DecodedRecords, end: i64) {
        self.recovered();
        self.end = Some(end);
        self.take_in(decoded);
        let is_at_end = self.position.is_some_and(|position| position >= end);
        self.at_end_since = is_at_end.then(Instant::now);
    }

    fn take_in(&mut self, decoded: DecodedRecords) {
        self.fetch_bytes = match decoded.cut_at {
            Some(taken) => taken.max(FETCH_BYTES_MIN),
            // Slowly: what is left out of a response was sent for nothing.
            None => self.fetch_bytes.saturating_add(self.fetch_bytes / 8),
        };
        let DecodedRecords { records, next: Some(next), .. } = decoded else { return };
        self.position = Some(next);
        if records.len() > 0 {
            self.bytes += records.size();
            self.waiting.push_back(CompletedFetch { records: Arc::new(records), done: 0, next });
        } else if let Some(last) = self.waiting.back_mut() {
            // Nothing to deliver: markers, and what was aborted or compacted.
            last.next = next;
        } else {
            self.delivered = next;
        }
    }

    /// Takes at most `most` records.
    pub(super) fn take(&mut self, most: usize) -> Option<FetchedBatch> {
        let first = self.waiting.front_mut()?;
        let end = first.records.len().min(first.done.saturating_add(most));
        let records = Arc::clone(&first.records);
        let range = first.done..end;
        let partition = self.id.clone();
        let batch = FetchedBatch { partition, records, range };
        first.done = end;
        if end == first.records.len() {
            self.bytes -= first.records.size();
            self.delivered = first.next;
            self.waiting.pop_front();
        } else {
            self.delivered = batch.record(batch.len() - 1).offset + 1;
        }
        Some(batch)
    }

    /// There was an error that will pass.
    pub(super) fn back_off(&mut self, broker: BrokerId) {
        // The broker that leads it now may have more.
        self.at_end_since = None;
        let now = Instant::now();
        let backoff = BACKOFF.saturating_mul(1 << self.attempts.min(10)).min(BACKOFF_MAX);
        self.not_before = Some(now + backoff);
        self.attempts += 1;
        self.failing_since.get_or_insert(now);
        self.broker = broker;
    }

    /// It was refused. An instance that lost the partition and does not know it yet hears that
    /// first, when the next owner has deleted what this one still asks for. Returns whether it
    /// failed.
    pub(super) fn refused(&mut self, error: KafkaClientError, broker: BrokerId) -> bool {
        self.refusals += 1;
        let is_lasting = self.refusals >= REFUSALS_MAX;
        if is_lasting {
            self.fail(error)
        } else {
            self.back_off(broker)
        }
        is_lasting
    }

    pub(super) fn fail(&mut self, error: KafkaClientError) {
        self.is_failed = true;
        self.at_end_since = None;
        self.failure = Some(error);
    }

    /// The errors are over.
    fn recovered(&mut self) {
        self.not_before = None;
        self.failing_since = None;
        self.attempts = 0;
        self.refusals = 0;
    }
}
