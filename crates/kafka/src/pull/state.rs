//! What is known of the partitions that are read; nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, Fetched, TransportError};
use streams_core::TopicPartition;

use super::fetcher::Share;
use super::partition::{FINDER, Hand, Partition};
use crate::wire::{Decoded, Leader};

#[derive(Default)]
pub(super) struct State {
    /// By the number of their addition: what was asked for before a partition was moved is not
    /// taken for it.
    pub(super) partitions: BTreeMap<Number, Partition>,
    pub(super) numbers: BTreeMap<TopicPartition, Number>,
    pub(super) last: Number,
    /// Who has something waiting, in turn.
    pub(super) ready: VecDeque<Number>,
    /// Partitions were added or resumed until a moment ago: others may follow.
    pub(super) fresh_until: Option<Instant>,
    /// Whose turn it is to be asked for first.
    pub(super) turn: usize,
    pub(super) is_woken: bool,
    pub(super) is_closed: bool,
    /// Who has an error that was not handed out.
    pub(super) failed: VecDeque<Number>,
    /// Why nothing comes any more.
    pub(super) broken: Option<String>,
}

/// Counts additions of partitions.
pub(super) type Number = u64;

/// A partition to be asked for.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) number: Number,
    pub(super) place: TopicPartition,
    pub(super) position: Option<i64>,
    /// How much may come of it.
    pub(super) bytes: usize,
    /// Since when it cannot be read.
    pub(super) troubled_since: Option<Instant>,
}

/// What came of an [`Ask`].
pub(super) enum Came {
    /// Records, and where what may be read of the partition ends.
    Records(Decoded, i64),
    /// The leader.
    Leader(Leader),
    /// Something that passes. Somebody else may lead it now.
    Again,
    /// As [`Again`](Self::Again), unless it lasts.
    Refused(TransportError),
    Failed(TransportError),
}

impl Came {
    /// Of records.
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
pub(super) struct Room {
    /// Bytes of each partition that may wait.
    pub(super) quota: usize,
    /// All of them together have what they may.
    is_full: bool,
    /// Something waits that is not paused.
    has_ready: bool,
}

impl Room {
    /// Whether more of a partition may be fetched. A paused one may be resumed any moment, so it
    /// has a part of its own; but partitions that are paused must not keep those from being read
    /// that they are waiting for. With many partitions the least part of each is too much for all:
    /// then only those are read of which nothing waits, and only when nothing else can be taken.
    fn has_space(&self, one: &Partition) -> bool {
        let is_wanted_now = || one.bytes == 0 && !one.is_paused && !self.has_ready;
        one.bytes < self.quota && (!self.is_full || is_wanted_now())
    }
}

impl State {
    pub(super) fn room(&self, share: &Share) -> Room {
        let share = share.bytes();
        let waiting: usize = self.partitions.values().map(|one| one.bytes).sum();
        Room {
            quota: (share / self.partitions.len().max(1)).clamp(QUOTA_MIN, QUOTA_MAX),
            is_full: waiting >= share,
            has_ready: !self.ready.is_empty(),
        }
    }

    pub(super) fn remove(&mut self, place: &TopicPartition) -> Option<Partition> {
        let number = self.numbers.remove(place)?;
        let partition = self.partitions.remove(&number)?;
        self.ready.retain(|ready| *ready != number);
        // What was wrong with it concerns nobody any more: another instance may have it.
        self.failed.retain(|failed| *failed != number);
        Some(partition)
    }

    pub(super) fn take_failure(&mut self) -> Option<TransportError> {
        if let Some(why) = &self.broken {
            return Some(TransportError::new(ErrorKind::Fatal, "fetching", &**why));
        }
        let number = self.failed.pop_front()?;
        self.partitions.get_mut(&number)?.failure.take()
    }

    /// Records of those who have some, in turn; and whether there is space again.
    pub(super) fn hand_out(&mut self, most: usize, share: &Share) -> (Vec<Fetched>, bool) {
        let room = self.room(share);
        let (mut fetched, mut left, mut made_space) = (Vec::new(), most.max(1), false);
        while left > 0
            && let Some(number) = self.ready.pop_front()
        {
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            partition.is_ready = false;
            if partition.is_paused {
                continue;
            }
            let had_space = partition.bytes < room.quota;
            let Some(batch) = partition.take(left) else { continue };
            made_space |= !had_space && partition.bytes < room.quota;
            if partition.has_waiting() {
                partition.is_ready = true;
                self.ready.push_back(number);
            }
            left = left.saturating_sub(batch.range.len());
            fetched.push(Fetched { partition: partition.place.clone(), batch: Box::new(batch) });
        }
        made_space |= self.room(share) != room;
        (fetched, made_space)
    }

    /// When something is to be done for `hand`.
    pub(super) fn due(&self, hand: Hand, room: Room, now: Instant) -> Option<Instant> {
        let wanted = self.partitions.values().filter(|one| one.hand == hand && one.is_wanted());
        let wanted = wanted.filter(|one| hand == FINDER || room.has_space(one));
        wanted.map(|one| one.due(now)).min()
    }

    /// What is to be done for `hand` now, with at most `most` bytes of each, and whether that is
    /// all that it has to do with.
    pub(super) fn asks(
        &mut self,
        hand: Hand,
        room: Room,
        most: usize,
        now: Instant,
    ) -> (Vec<Ask>, bool) {
        let (mut asks, mut is_all) = (Vec::new(), true);
        for (number, one) in &mut self.partitions {
            if one.hand != hand || one.is_failed {
                continue;
            }
            let has_space = hand == FINDER || room.has_space(one);
            if !one.is_wanted() || !has_space || one.due(now) > now {
                // One that is paused has enough for a while.
                is_all &= one.is_paused;
                continue;
            }
            one.is_busy = true;
            asks.push(Ask {
                number: *number,
                place: one.place.clone(),
                position: one.position,
                bytes: one.appetite(most),
                troubled_since: one.troubled_since,
            });
        }
        // What comes first in a request comes first in the answer, which has a limit.
        self.turn = self.turn.wrapping_add(1);
        let count = asks.len().max(1);
        asks.rotate_left(self.turn % count);
        (asks, is_all)
    }

    /// All that are with their leaders, as far as is known.
    pub(super) fn led(&self) -> Vec<(Number, TopicPartition)> {
        let led = self.partitions.iter().filter(|(_, one)| one.hand != FINDER && !one.is_failed);
        led.map(|(number, one)| (*number, one.place.clone())).collect()
    }

    /// A leader was found that may be a later one. A request to the one before may be on its way:
    /// only when that is over somebody else asks.
    pub(super) fn follow(&mut self, number: Number, leader: Leader) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        if partition.hand != FINDER && leader.epoch > partition.leader_epoch {
            partition.lead(leader);
        }
    }

    pub(super) fn is_at_end(&self, number: Number, now: Instant, within: Duration) -> bool {
        self.partitions.get(&number).is_some_and(|one| one.is_at_end(now, within))
    }

    pub(super) fn settle(&mut self, number: Number, came: Came) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        partition.is_busy = false;
        match came {
            Came::Records(decoded, end) => {
                partition.came(decoded, end);
                if partition.has_waiting() && !partition.is_paused && !partition.is_ready {
                    partition.is_ready = true;
                    self.ready.push_back(number);
                }
            }
            Came::Leader(leader) => partition.lead(leader),
            Came::Again => partition.again(FINDER),
            Came::Refused(error) => {
                if partition.refused(error, FINDER) {
                    self.failed.push_back(number);
                }
            }
            Came::Failed(error) => {
                partition.fail(error);
                self.failed.push_back(number);
            }
        }
    }
}
