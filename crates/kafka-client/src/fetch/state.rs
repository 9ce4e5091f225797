//! What is known of the partitions that are read; nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::batch::FetchedBatch;
use super::fetcher::MemoryShare;
use super::partition::{BrokerId, NO_LEADER, PartitionState};
use crate::error::{ErrorClass, KafkaClientError};
use crate::partition::PartitionId;
use crate::records::DecodedRecords;
use crate::requests::Leader;

/// How far a partition was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// Everything before this offset was delivered, except markers and aborted records.
    pub position: i64,
    /// The end of what may be read, as the leader last answered: the last stable offset if only
    /// committed records are read, otherwise the high watermark.
    pub end: i64,
}

#[derive(Default)]
pub(super) struct FetchState {
    /// By the number of their addition: what was requested before a partition was moved does not
    /// count for it afterwards.
    pub(super) partitions: BTreeMap<FetchId, PartitionState>,
    pub(super) numbers: BTreeMap<PartitionId, FetchId>,
    pub(super) last: FetchId,
    /// Those that have something waiting, in turn.
    pub(super) ready: VecDeque<FetchId>,
    /// Partitions were added or resumed until a moment ago: others may follow.
    pub(super) fresh_until: Option<Instant>,
    /// Which one comes first in the next request.
    pub(super) turn: usize,
    pub(super) is_woken: bool,
    pub(super) is_closed: bool,
    /// Those that have an error which was not delivered yet.
    pub(super) failed: VecDeque<FetchId>,
    /// Why nothing comes any more.
    pub(super) broken: Option<String>,
}

/// Counts additions of partitions.
pub(super) type FetchId = u64;

/// A partition's part of a request.
#[derive(Clone)]
pub(super) struct PartitionFetch {
    pub(super) number: FetchId,
    pub(super) id: PartitionId,
    pub(super) position: Option<i64>,
    /// How many bytes of it may come.
    pub(super) bytes: usize,
    /// Since when it could not be read.
    pub(super) failing_since: Option<Instant>,
}

/// What came of a [`PartitionFetch`].
pub(super) enum PartitionOutcome {
    /// Records, and where what may be read of the partition ends.
    Records(DecodedRecords, i64),
    /// The leader.
    Leader(Leader),
    /// An error that passes. Another broker may lead it now.
    Retry,
    /// As [`Retry`](Self::Retry), unless it lasts.
    Refused(KafkaClientError),
    Failed(KafkaClientError),
}

impl PartitionOutcome {
    /// Bytes of its records.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Records(decoded, _) => decoded.records.bytes(),
            _ => 0,
        }
    }
}

/// What may wait of each partition is the same part of all, within these bounds.
pub(super) const QUOTA_MIN: usize = 64 << 10;
const QUOTA_MAX: usize = 2 << 20;

/// How much more may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Bytes of each partition that may wait.
    pub(super) quota: usize,
    /// All of them together have what they may.
    is_full: bool,
    /// Something waits that is not paused.
    has_ready: bool,
}

impl Capacity {
    /// Whether more of a partition may be fetched. A paused one may be resumed any moment, so it
    /// has a part of its own. Yet a task that pauses some inputs waits for the others, and those
    /// must still be read. With many partitions the least part of each is too much for all: then
    /// only partitions of which nothing waits are read, and only while nothing else can be taken.
    fn has_space(&self, one: &PartitionState) -> bool {
        let is_wanted_now = || one.bytes == 0 && !one.is_paused && !self.has_ready;
        one.bytes < self.quota && (!self.is_full || is_wanted_now())
    }
}

impl FetchState {
    pub(super) fn capacity(&self, share: &MemoryShare) -> Capacity {
        let share = share.bytes();
        let waiting: usize = self.partitions.values().map(|one| one.bytes).sum();
        Capacity {
            quota: (share / self.partitions.len().max(1)).clamp(QUOTA_MIN, QUOTA_MAX),
            is_full: waiting >= share,
            has_ready: !self.ready.is_empty(),
        }
    }

    pub(super) fn remove(&mut self, id: &PartitionId) -> Option<PartitionState> {
        let number = self.numbers.remove(id)?;
        let partition = self.partitions.remove(&number)?;
        self.ready.retain(|ready| *ready != number);
        // Its error is of no use now: another instance may have the partition.
        self.failed.retain(|failed| *failed != number);
        Some(partition)
    }

    pub(super) fn take_failure(&mut self) -> Option<KafkaClientError> {
        if let Some(why) = &self.broken {
            return Some(KafkaClientError::new(ErrorClass::Fatal, "fetching", &**why));
        }
        let number = self.failed.pop_front()?;
        self.partitions.get_mut(&number)?.failure.take()
    }

    /// Takes the records of those that have some, in turn. Also returns whether there is space
    /// again.
    pub(super) fn collect(
        &mut self,
        most: usize,
        share: &MemoryShare,
    ) -> (Vec<FetchedBatch>, bool) {
        let capacity = self.capacity(share);
        let mut fetched = Vec::new();
        let mut left = most.max(1);
        let mut made_space = false;
        while left > 0
            && let Some(number) = self.ready.pop_front()
        {
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            partition.is_ready = false;
            if partition.is_paused {
                continue;
            }
            let had_space = partition.bytes < capacity.quota;
            let Some(batch) = partition.take(left) else { continue };
            made_space |= !had_space && partition.bytes < capacity.quota;
            if partition.has_waiting() {
                partition.is_ready = true;
                self.ready.push_back(number);
            }
            left = left.saturating_sub(batch.range.len());
            fetched.push(batch);
        }
        made_space |= self.capacity(share) != capacity;
        (fetched, made_space)
    }

    /// When there is something to do at `broker`.
    pub(super) fn due(
        &self,
        broker: BrokerId,
        capacity: Capacity,
        now: Instant,
    ) -> Option<Instant> {
        let wanted = self.partitions.values().filter(|one| one.broker == broker && one.is_wanted());
        let wanted = wanted.filter(|one| broker == NO_LEADER || capacity.has_space(one));
        wanted.map(|one| one.due(now)).min()
    }

    /// What to request of `broker` now, with at most `most` bytes of each partition. Also returns
    /// whether those are all of its partitions.
    pub(super) fn plan(
        &mut self,
        broker: BrokerId,
        capacity: Capacity,
        most: usize,
        now: Instant,
    ) -> (Vec<PartitionFetch>, bool) {
        let mut partitions = Vec::new();
        let mut is_all = true;
        for (number, one) in &mut self.partitions {
            if one.broker != broker || one.is_failed {
                continue;
            }
            let has_space = broker == NO_LEADER || capacity.has_space(one);
            if !one.is_wanted() || !has_space || one.due(now) > now {
                // A paused one has enough for a while.
                is_all &= one.is_paused;
                continue;
            }
            one.is_busy = true;
            partitions.push(PartitionFetch {
                number: *number,
                id: one.id.clone(),
                position: one.position,
                bytes: one.fetch_bytes(most),
                failing_since: one.failing_since,
            });
        }
        // What comes first in a request comes first in the response, which has a limit.
        self.turn = self.turn.wrapping_add(1);
        let count = partitions.len().max(1);
        partitions.rotate_left(self.turn % count);
        (partitions, is_all)
    }

    /// Those that are with their leaders, as far as is known.
    pub(super) fn led(&self) -> Vec<(FetchId, PartitionId)> {
        let led =
            self.partitions.iter().filter(|(_, one)| one.broker != NO_LEADER && !one.is_failed);
        led.map(|(number, one)| (*number, one.id.clone())).collect()
    }

    /// A leader was found that may be a later one. A request to the former one may be in flight:
    /// the new one is only asked when that is over.
    pub(super) fn follow(&mut self, number: FetchId, leader: Leader) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        if partition.broker != NO_LEADER && leader.epoch > partition.leader_epoch {
            partition.lead(leader);
        }
    }

    pub(super) fn is_at_end(&self, number: FetchId, now: Instant, within: Duration) -> bool {
        self.partitions.get(&number).is_some_and(|one| one.is_at_end(now, within))
    }

    pub(super) fn complete(&mut self, number: FetchId, outcome: PartitionOutcome) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        partition.is_busy = false;
        match outcome {
            PartitionOutcome::Records(decoded, end) => {
                partition.received(decoded, end);
                if partition.has_waiting() && !partition.is_paused && !partition.is_ready {
                    partition.is_ready = true;
                    self.ready.push_back(number);
                }
            }
            PartitionOutcome::Leader(leader) => partition.lead(leader),
            PartitionOutcome::Retry => partition.back_off(NO_LEADER),
            PartitionOutcome::Refused(error) => {
                if partition.refused(error, NO_LEADER) {
                    self.failed.push_back(number);
                }
            }
            PartitionOutcome::Failed(error) => {
                partition.fail(error);
                self.failed.push_back(number);
            }
        }
    }
}
