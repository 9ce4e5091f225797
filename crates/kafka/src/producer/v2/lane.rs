//! The batches of one partition, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::transport::Outgoing;

use crate::wire::{BatchWriter, Leader, RecordBatch};

/// A partition, what waits to be sent to it, and where its sequence numbers are.
pub(super) struct Lane {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// How large a batch its topic takes.
    pub(super) bytes_max: usize,
    /// Whose sender cares for this lane: the leader, as far as is known.
    pub(super) broker: i32,
    /// The leader's.
    epoch: i32,
    /// Records are added to this one.
    open: BatchWriter,
    opened: Instant,
    /// Sealed ones, oldest first.
    waiting: VecDeque<Batch>,
    /// A batch is on its way; the next one has to wait for its answer.
    busy: bool,
    /// Not before this, after a batch that has to be sent again.
    not_before: Option<Instant>,
    /// Of the next batch.
    sequence: i32,
    /// Of the last acknowledged record; −1 before the first.
    pub(super) last_offset: i64,
}

/// A batch that is on its way, or was and has to be sent again.
pub(super) struct Batch {
    pub(super) records: RecordBatch,
    pub(super) since: Instant,
    pub(super) attempts: u32,
}

impl Lane {
    pub(super) fn new(topic: Arc<str>, partition: i32, leader: Leader) -> Self {
        Self {
            topic,
            partition,
            bytes_max: usize::MAX,
            broker: leader.broker,
            epoch: leader.epoch,
            open: BatchWriter::default(),
            opened: Instant::now(),
            waiting: VecDeque::new(),
            busy: false,
            not_before: None,
            sequence: 0,
            last_offset: -1,
        }
    }

    /// Somebody leads it. Without a leader it stays where it is asked for.
    pub(super) fn lead(&mut self, leader: Leader) {
        if leader.broker >= 0 {
            (self.broker, self.epoch) = (leader.broker, leader.epoch);
        }
    }

    /// As [`lead`](Self::lead), if that is later than what is known.
    pub(super) fn follow(&mut self, leader: Leader) {
        if leader.epoch > self.epoch {
            self.lead(leader);
        }
    }

    /// Whether the next record begins a batch.
    pub(super) fn is_between_batches(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds a record; a new batch writes into what `buffer` gives.
    pub(super) fn add(
        &mut self,
        record: &Outgoing<'_>,
        batch_bytes: usize,
        buffer: impl FnOnce() -> Vec<u8>,
    ) -> Added {
        let size = size_of(record);
        let mut added = Added::default();
        let batch_bytes = batch_bytes.min(self.bytes_max.saturating_sub(BATCH_HEADER));
        // A batch is larger than that only if its single record is: brokers refuse large batches.
        if !self.open.is_empty() && self.open.len() + size > batch_bytes {
            self.seal();
            added.sealed = true;
        }
        if self.open.is_empty() {
            self.open = BatchWriter::new(buffer());
            self.opened = Instant::now();
            added.begun = true;
        }
        let before = self.open.len();
        self.open.add(record.timestamp, (record.key, record.value), record.headers);
        added.bytes = self.open.len() - before;
        added
    }

    fn seal(&mut self) {
        let records = std::mem::take(&mut self.open).finish();
        self.waiting.push_back(Batch { records, since: self.opened, attempts: 0 });
    }

    /// When the next batch may go; `None`: there is none, or one is on its way.
    pub(super) fn due(&self, linger: Duration, now: Instant) -> Option<Instant> {
        if self.busy {
            return None;
        }
        let ready = if !self.waiting.is_empty() {
            now
        } else if !self.open.is_empty() {
            self.opened + linger
        } else {
            return None;
        };
        Some(self.not_before.map_or(ready, |least| least.max(ready)))
    }

    /// Takes the next batch, with its sequence number.
    pub(super) fn take(&mut self) -> Option<(i32, Batch)> {
        if self.waiting.is_empty() && !self.open.is_empty() {
            self.seal();
        }
        let batch = self.waiting.pop_front()?;
        self.busy = true;
        Some((self.sequence, batch))
    }

    /// A batch of `count` records is there.
    pub(super) fn acknowledged(&mut self, count: i32, offset: i64) {
        self.come_back();
        // After the greatest number comes 0.
        self.sequence = self.sequence.checked_add(count).unwrap_or_else(|| {
            let left = i32::MAX - self.sequence;
            count - left - 1
        });
        if offset >= 0 {
            let last = offset.saturating_add(i64::from(count) - 1);
            self.last_offset = self.last_offset.max(last);
        }
    }

    /// A batch has to be sent again, with the same number.
    pub(super) fn again(&mut self, batch: Batch, not_before: Instant) {
        self.come_back();
        self.not_before = Some(not_before);
        self.waiting.push_front(batch);
    }

    /// What was on its way no longer is.
    pub(super) fn come_back(&mut self) {
        self.busy = false;
        self.not_before = None;
    }

    /// Drops everything that waits, and hands its buffers to `keep`.
    pub(super) fn clear(&mut self, mut keep: impl FnMut(Vec<u8>)) {
        if !self.open.is_empty() {
            self.seal();
        }
        self.waiting.drain(..).for_each(|batch| keep(batch.records.bytes));
    }

    /// A new epoch begins with number 0.
    pub(super) fn restart(&mut self) {
        self.sequence = 0;
    }
}

/// What adding a record did.
#[derive(Clone, Copy, Default)]
pub(super) struct Added {
    /// A batch is complete.
    pub(super) sealed: bool,
    /// A batch was begun.
    pub(super) begun: bool,
    pub(super) bytes: usize,
}

/// What a batch has before its records.
const BATCH_HEADER: usize = 61;

/// At most so many bytes of a record beside key, value and headers.
const OVERHEAD: usize = 40;

fn size_of(record: &Outgoing<'_>) -> usize {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers = record.headers.into_iter().flat_map(|headers| headers.iter());
    let headers: usize = headers.map(|(name, value)| name.len() + length(value) + 10).sum();
    length(record.key) + length(record.value) + headers + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane_with(records: usize, batch_bytes: usize) -> Lane {
        let topic: Arc<str> = "t".into();
        let mut lane = Lane::new(Arc::clone(&topic), 0, Leader { broker: 0, epoch: 0 });
        for _ in 0..records {
            let value = Some(&[0; 100][..]);
            let partition = Some(0);
            let (key, headers) = (None, None);
            let record = Outgoing { topic: &topic, partition, key, value, timestamp: 0, headers };
            lane.add(&record, batch_bytes, Vec::new);
        }
        lane
    }

    #[test]
    fn one_batch_is_on_its_way_and_comes_back_with_its_number() {
        let mut lane = lane_with(10, 500);
        let now = Instant::now();
        assert_eq!(lane.due(Duration::ZERO, now), Some(now));
        let (sequence, batch) = lane.take().expect("a batch");
        let count = batch.records.count;
        assert_eq!((sequence, count, batch.attempts), (0, 4, 0));
        assert_eq!(lane.due(Duration::ZERO, now), None, "one at a time");
        let later = now + Duration::from_secs(1);
        lane.again(batch, later);
        assert_eq!(lane.due(Duration::ZERO, now), Some(later));
        let (sequence, batch) = lane.take().expect("the same batch");
        assert_eq!((sequence, batch.records.count), (0, count));
        lane.acknowledged(count, 7);
        assert_eq!(lane.last_offset, 10);
        let (sequence, _) = lane.take().expect("the next batch");
        assert_eq!(sequence, count);
    }

    #[test]
    fn a_batch_is_not_larger_than_its_topic_takes() {
        let topic: Arc<str> = "t".into();
        let mut lane = Lane::new(Arc::clone(&topic), 0, Leader { broker: 0, epoch: 0 });
        lane.bytes_max = 400;
        let (partition, value) = (Some(0), Some(&[0; 100][..]));
        let (key, headers) = (None, None);
        let record = Outgoing { topic: &topic, partition, key, value, timestamp: 0, headers };
        for _ in 0..10 {
            lane.add(&record, 1 << 20, Vec::new);
        }
        while let Some((_, batch)) = lane.take() {
            assert!(batch.records.bytes.len() + BATCH_HEADER <= 400 && batch.records.count > 1);
        }
    }

    #[test]
    fn records_linger_until_there_are_enough_of_them() {
        let linger = Duration::from_secs(9);
        let lane = lane_with(1, 500);
        assert!(lane.due(linger, Instant::now()) > Some(Instant::now()));
        let lane = lane_with(5, 500);
        assert!(lane.due(linger, Instant::now()) <= Some(Instant::now()));
        assert_eq!(lane_with(0, 500).due(linger, Instant::now()), None);
    }

    #[test]
    fn a_later_leader_is_followed_and_an_earlier_one_is_not() {
        let mut lane = lane_with(0, 500);
        for (broker, epoch, expected) in [(1, 2, 1), (2, 1, 1), (2, 2, 1), (-1, 3, 1), (2, 3, 2)] {
            lane.follow(Leader { broker, epoch });
            assert_eq!(lane.broker, expected, "{broker} of {epoch}");
        }
        lane.lead(Leader { broker: 3, epoch: 0 });
        assert_eq!(lane.broker, 3, "something is wrong with the one before");
    }

    #[test]
    fn numbers_begin_anew_after_the_greatest() {
        let mut lane = lane_with(0, 500);
        lane.sequence = i32::MAX - 1;
        lane.acknowledged(1, -1);
        assert_eq!(lane.sequence, i32::MAX);
        lane.acknowledged(3, -1);
        assert_eq!((lane.sequence, lane.last_offset), (2, -1));
    }
}
