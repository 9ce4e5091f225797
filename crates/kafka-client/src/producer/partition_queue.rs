//! The batches of one partition, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::record::ProducerRecord;
use crate::records::{BatchBuilder, EncodedBatch};
use crate::requests::Leader;

/// A partition, what waits to be sent to it, and where its sequence numbers are.
pub(super) struct PartitionQueue {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// How large a batch its topic takes.
    pub(super) bytes_max: usize,
    /// The broker whose sender takes from this queue: the leader, as far as is known.
    pub(super) broker: i32,
    leader_epoch: i32,
    /// Records are added to this one.
    open: BatchBuilder,
    opened: Instant,
    /// Closed ones, oldest first.
    waiting: VecDeque<ProducerBatch>,
    /// A batch is in flight; the next one has to wait for its response.
    in_flight: bool,
    /// A batch that has to be sent again is not sent before this.
    not_before: Option<Instant>,
    /// The sequence number of the next batch.
    sequence: i32,
    /// The offset of the last acknowledged record; −1 before the first.
    pub(super) last_offset: i64,
}

/// A batch that is in flight, or was and has to be sent again.
pub(super) struct ProducerBatch {
    pub(super) records: EncodedBatch,
    pub(super) since: Instant,
    pub(super) attempts: u32,
}

impl PartitionQueue {
    pub(super) fn new(topic: Arc<str>, partition: i32, leader: Leader) -> Self {
        Self {
            topic,
            partition,
            bytes_max: usize::MAX,
            broker: leader.broker,
            leader_epoch: leader.epoch,
            open: BatchBuilder::default(),
            opened: Instant::now(),
            waiting: VecDeque::new(),
            in_flight: false,
            not_before: None,
            sequence: 0,
            last_offset: -1,
        }
    }

    /// Sets its leader. Without a leader it stays where it is.
    pub(super) fn lead(&mut self, leader: Leader) {
        if leader.broker >= 0 {
            self.broker = leader.broker;
            self.leader_epoch = leader.epoch;
        }
    }

    /// As [`lead`](Self::lead), if the leader is later than the one that is known.
    pub(super) fn follow(&mut self, leader: Leader) {
        if leader.epoch > self.leader_epoch {
            self.lead(leader);
        }
    }

    /// Whether the next record begins a batch.
    pub(super) fn is_between_batches(&self) -> bool {
        self.open.is_empty()
    }

    /// Appends a record; a new batch writes into the buffer that `buffer` gives.
    pub(super) fn append(
        &mut self,
        record: &ProducerRecord<'_>,
        batch_bytes: usize,
        buffer: impl FnOnce() -> Vec<u8>,
    ) -> Appended {
        let size = size_of(record);
        let mut appended = Appended::default();
        let batch_bytes = batch_bytes.min(self.bytes_max.saturating_sub(BATCH_HEADER));
        // A batch is larger than that only if its single record is: brokers refuse large batches.
        if !self.open.is_empty() && self.open.len() + size > batch_bytes {
            self.close_batch();
            appended.closed = true;
        }
        if self.open.is_empty() {
            self.open = BatchBuilder::new(buffer());
            self.opened = Instant::now();
            appended.begun = true;
        }
        let before = self.open.len();
        self.open.add(record.timestamp, record.key, record.value, record.headers);
        appended.bytes = self.open.len() - before;
        appended
    }

    fn close_batch(&mut self) {
        let records = std::mem::take(&mut self.open).finish();
        self.waiting.push_back(ProducerBatch { records, since: self.opened, attempts: 0 });
    }

    /// When the next batch may be sent. `None` if there is none, or if one is in flight.
    pub(super) fn due(&self, linger: Duration, now: Instant) -> Option<Instant> {
        if self.in_flight {
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
    pub(super) fn take(&mut self) -> Option<(i32, ProducerBatch)> {
        if self.waiting.is_empty() && !self.open.is_empty() {
            self.close_batch();
        }
        let batch = self.waiting.pop_front()?;
        self.in_flight = true;
        Some((self.sequence, batch))
    }

    /// The log has a batch of `count` records.
    pub(super) fn acknowledged(&mut self, count: i32, offset: i64) {
        self.returned();
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
    pub(super) fn retry(&mut self, batch: ProducerBatch, not_before: Instant) {
        self.returned();
        self.not_before = Some(not_before);
        self.waiting.push_front(batch);
    }

    /// The batch in flight no longer is.
    pub(super) fn returned(&mut self) {
        self.in_flight = false;
        self.not_before = None;
    }

    /// Drops everything that waits, and hands its buffers to `keep`.
    pub(super) fn clear(&mut self, mut keep: impl FnMut(Vec<u8>)) {
        if !self.open.is_empty() {
            self.close_batch();
        }
        self.waiting.drain(..).for_each(|batch| keep(batch.records.bytes));
    }

    /// A new epoch begins with number 0.
    pub(super) fn restart(&mut self) {
        self.sequence = 0;
    }
}

/// What appending a record did.
#[derive(Clone, Copy, Default)]
pub(super) struct Appended {
    /// A batch is complete.
    pub(super) closed: bool,
    /// A batch was begun.
    pub(super) begun: bool,
    pub(super) bytes: usize,
}

/// What a batch has before its records.
const BATCH_HEADER: usize = 61;

/// The most bytes that a record has beside key, value and headers.
const OVERHEAD: usize = 40;

fn size_of(record: &ProducerRecord<'_>) -> usize {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let mut headers = 0;
    if let Some(all) = record.headers {
        all.visit(&mut |name, value| headers += name.len() + length(value) + 10);
    }
    length(record.key) + length(record.value) + headers + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_with(records: usize, batch_bytes: usize) -> PartitionQueue {
        let topic: Arc<str> = "t".into();
        let mut queue = PartitionQueue::new(Arc::clone(&topic), 0, Leader { broker: 0, epoch: 0 });
        for _ in 0..records {
            let value = Some(&[0; 100][..]);
            let partition = Some(0);
            let key = None;
            let headers = None;
            let record =
                ProducerRecord { topic: &topic, partition, key, value, timestamp: 0, headers };
            queue.append(&record, batch_bytes, Vec::new);
        }
        queue
    }

    #[test]
    fn one_batch_is_in_flight_and_comes_back_with_its_number() {
        let mut queue = queue_with(10, 500);
        let now = Instant::now();
        assert_eq!(queue.due(Duration::ZERO, now), Some(now));
        let (sequence, batch) = queue.take().expect("a batch");
        let count = batch.records.count;
        assert_eq!((sequence, count, batch.attempts), (0, 4, 0));
        assert_eq!(queue.due(Duration::ZERO, now), None, "one at a time");
        let later = now + Duration::from_secs(1);
        queue.retry(batch, later);
        assert_eq!(queue.due(Duration::ZERO, now), Some(later));
        let (sequence, batch) = queue.take().expect("the same batch");
        assert_eq!((sequence, batch.records.count), (0, count));
        queue.acknowledged(count, 7);
        assert_eq!(queue.last_offset, 10);
        let (sequence, _) = queue.take().expect("the next batch");
        assert_eq!(sequence, count);
    }

    #[test]
    fn a_batch_is_not_larger_than_its_topic_takes() {
        let topic: Arc<str> = "t".into();
        let mut queue = PartitionQueue::new(Arc::clone(&topic), 0, Leader { broker: 0, epoch: 0 });
        queue.bytes_max = 400;
        let partition = Some(0);
        let value = Some(&[0; 100][..]);
        let key = None;
        let headers = None;
        let record = ProducerRecord { topic: &topic, partition, key, value, timestamp: 0, headers };
        for _ in 0..10 {
            queue.append(&record, 1 << 20, Vec::new);
        }
        while let Some((_, batch)) = queue.take() {
            assert!(batch.records.bytes.len() + BATCH_HEADER <= 400 && batch.records.count > 1);
        }
    }

    #[test]
    fn records_linger_until_there_are_enough_of_them() {
        let linger = Duration::from_secs(9);
        let queue = queue_with(1, 500);
        assert!(queue.due(linger, Instant::now()) > Some(Instant::now()));
        let queue = queue_with(5, 500);
        assert!(queue.due(linger, Instant::now()) <= Some(Instant::now()));
        assert_eq!(queue_with(0, 500).due(linger, Instant::now()), None);
    }

    #[test]
    fn a_later_leader_is_followed_and_an_earlier_one_is_not() {
        let mut queue = queue_with(0, 500);
        for (broker, epoch, expected) in [(1, 2, 1), (2, 1, 1), (2, 2, 1), (-1, 3, 1), (2, 3, 2)] {
            queue.follow(Leader { broker, epoch });
            assert_eq!(queue.broker, expected, "{broker} of {epoch}");
        }
        queue.lead(Leader { broker: 3, epoch: 0 });
        assert_eq!(queue.broker, 3, "something is wrong with the one before");
    }

    #[test]
    fn numbers_start_from_0_after_the_greatest() {
        let mut queue = queue_with(0, 500);
        queue.sequence = i32::MAX - 1;
        queue.acknowledged(1, -1);
        assert_eq!(queue.sequence, i32::MAX);
        queue.acknowledged(3, -1);
        assert_eq!((queue.sequence, queue.last_offset), (2, -1));
    }
}
