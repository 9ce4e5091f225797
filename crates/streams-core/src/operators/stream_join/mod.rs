//! Join of two streams: each side's records wait in a buffer for partners from the other side.
//!
//! Both sides share one stream time: the highest timestamp that reached either of them, including
//! records without a key or value. Each buffer deletes by the highest timestamp that was put into
//! it, so a late record finds whatever the other side still has. Records without a partner are also
//! stored by time until their window and grace have passed.

mod buffer;
mod unmatched;

use std::sync::Arc;

use buffer::BufferPosition;
pub(crate) use buffer::LAYOUT;

use super::Sides;
use crate::codec::Codec;
use crate::due::Frontier;
use crate::error::{Cause, Failure};
use crate::operator_state::{OperatorState, StateIndex};
use crate::receive::{Port, Receive};
use crate::record::{Record, Timestamp};
use crate::state::read_back;
use crate::state::tables::TableIndex;
use crate::stream_clock::ClockIndex;
use crate::task_context::TaskContext;
use crate::window::JoinWindows;

pub(crate) struct StreamJoin<K, V, W, O, F> {
    pub(crate) left: JoinSide,
    pub(crate) right: JoinSide,
    /// Where unmatched records wait, in left and outer joins. Its stream time is that of the last
    /// search for them.
    pub(crate) unmatched: Option<JoinTable>,
    /// The stream time that both sides share.
    pub(crate) clock: ClockIndex,
    pub(crate) windows: JoinWindows,
    pub(crate) sides: Sides,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) left_value: Arc<dyn Codec<V>>,
    pub(crate) right_value: Arc<dyn Codec<W>>,
    pub(crate) joiner: F,
    pub(crate) next: Port<K, O>,
}

/// A table of the join, with the stream time of its records.
pub(crate) struct JoinTable {
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    pub(crate) clock: ClockIndex,
}

/// One side of the join.
pub(crate) struct JoinSide {
    /// Its buffer.
    pub(crate) table: JoinTable,
    pub(crate) state: StateIndex<JoinSideState>,
}

/// What waits of the records of one side.
#[derive(Clone, Default)]
pub(crate) struct JoinSideState {
    /// Records in the buffer, which wait to be deleted.
    first_kept: Frontier,
    /// Records without a partner, which wait to be results.
    first_unmatched: Frontier,
}

impl OperatorState for JoinSideState {}

/// Which of the two streams a record is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Left,
    Right,
}

/// The left stream of a join.
pub(crate) struct LeftSide<J>(pub(crate) Arc<J>);
/// The right stream of a join.
pub(crate) struct RightSide<J>(pub(crate) Arc<J>);

impl<K, V, W, O, F> Receive<K, V> for LeftSide<StreamJoin<K, V, W, O, F>>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: 'static,
    F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let join = &*self.0;
        let Record { key, value, timestamp } = record;
        let arrival = join.arrive(Side::Left, &key, &*join.left_value, &value, timestamp, cx)?;
        match arrival {
            Matched::Nothing => Ok(()),
            Matched::Alone => join.send(key, Some(&value), None, timestamp, cx),
            Matched::Partners(partners) => partners.into_iter().try_for_each(|(at, bytes)| {
                let partner = join.partner(Side::Right, &*join.right_value, &key, &bytes)?;
                join.send(key.clone(), Some(&value), Some(&partner), timestamp.max(at), cx)
            }),
        }
    }
}

impl<K, V, W, O, F> Receive<K, W> for RightSide<StreamJoin<K, V, W, O, F>>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: 'static,
    F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, W>, cx: &mut TaskContext) -> Result<(), Failure> {
        let join = &*self.0;
        let Record { key, value, timestamp } = record;
        let arrival = join.arrive(Side::Right, &key, &*join.right_value, &value, timestamp, cx)?;
        match arrival {
            Matched::Nothing => Ok(()),
            Matched::Alone => join.send(key, None, Some(&value), timestamp, cx),
            Matched::Partners(partners) => partners.into_iter().try_for_each(|(at, bytes)| {
                let partner = join.partner(Side::Left, &*join.left_value, &key, &bytes)?;
                join.send(key.clone(), Some(&partner), Some(&value), timestamp.max(at), cx)
            }),
        }
    }
}

/// What happens to a record.
enum Matched {
    Nothing,
    /// It is a result without a partner.
    Alone,
    /// It is joined with each of these (timestamp, value).
    Partners(Vec<(Timestamp, Box<[u8]>)>),
}

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: 'static,
    F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    fn arrive<T: 'static>(
        &self,
        side: Side,
        key: &K,
        codec: &dyn Codec<T>,
        value: &T,
        timestamp: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<Matched, Failure> {
        let clock = &mut cx.clocks[self.clock];
        clock.time = clock.time.max(timestamp);
        let time = clock.time;
        let mut key_bytes = Vec::new();
        let mut bytes = Vec::new();
        let name = &self.own(side).table.name;
        let failed = |source| Failure::from(Cause::Encode { target: Arc::clone(name), source });
        let has_key = self.key.encode(key, &mut key_bytes).map_err(failed)?;
        let has_value = codec.encode(value, &mut bytes).map_err(failed)?;
        if !has_key || !has_value {
            let is_alone = has_value && self.keeps_unmatched(side);
            return Ok(if is_alone { Matched::Alone } else { Matched::Nothing });
        }
        // An older record does not advance stream time, so it releases no unmatched record.
        if timestamp == time {
            self.look_for_unmatched(time, cx)?;
        }
        // The portion may have left unmatched records. Those with this key must be sent now, or
        // their result would follow a newer one.
        if cx.portion.is_used_up {
            self.send_unmatched_of(&key_bytes, cx)?;
        }
        let place = BufferPosition { key: &key_bytes, timestamp };
        self.remember(side, place, &bytes, cx)?;
        let partners = self.partners(side, place, cx)?;
        if !partners.is_empty() {
            partners
                .iter()
                .try_for_each(|(at, _)| self.found(side.other(), &key_bytes, *at, cx))?;
            return Ok(Matched::Partners(partners));
        }
        if !self.keeps_unmatched(side) {
            return Ok(Matched::Nothing);
        }
        // Its window and grace have already passed, so no partner can arrive.
        if timestamp + self.reach(side) + self.windows.grace_ms < time {
            return Ok(Matched::Alone);
        }
        self.wait(side, place, &bytes, cx)?;
        Ok(Matched::Nothing)
    }

    fn send(
        &self,
        key: K,
        left: Option<&V>,
        right: Option<&W>,
        timestamp: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        match (self.joiner)(&key, left, right) {
            Some(value) => self.next.receive(Record { key, value, timestamp }, cx),
            None => Ok(()),
        }
    }
}

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F> {
    fn own(&self, side: Side) -> &JoinSide {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// Whether an unmatched record of that side is a result.
    fn keeps_unmatched(&self, side: Side) -> bool {
        match self.sides {
            Sides::Inner => false,
            Sides::Left => side == Side::Left,
            Sides::Outer => true,
        }
    }

    /// How much later than a record of that side its partners can be.
    fn reach(&self, side: Side) -> i64 {
        match side {
            Side::Left => self.windows.after_ms,
            Side::Right => self.windows.before_ms,
        }
    }

    /// Reads back a partner of a record with `key`, from the buffer of its side.
    fn partner<T: 'static>(
        &self,
        side: Side,
        codec: &dyn Codec<T>,
        key: &K,
        bytes: &[u8],
    ) -> Result<T, Failure>
    where
        K: 'static,
    {
        read_back::value(&self.own(side).table.name, codec, bytes, || {
            let mut key_bytes = Vec::new();
            // This succeeds: it was encoded to find the partner.
            let _ = self.key.encode(key, &mut key_bytes);
            read_back::shown(&key_bytes)
        })
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}
