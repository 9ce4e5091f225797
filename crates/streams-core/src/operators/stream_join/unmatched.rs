//! Unmatched records: each is a result of its own when no partner can arrive any more.
//!
//! They are stored like the buffers. The highest bit of the sequence number says which side.

use super::buffer::{
    BufferPosition, SEQUENCE, SUFFIX, after, between, next_sequence, no_number, put, sequence,
    waiting,
};
use super::{JoinTable, Side, StreamJoin};
use crate::due::Frontier;
use crate::error::Failure;
use crate::operators::Hook;
use crate::record::{Headers, Timestamp};
use crate::state::changelog::{by_key, key_and_suffix};
use crate::state::read_back;
use crate::stream_clock::StreamClock;
use crate::task_context::TaskContext;

const RIGHT: u32 = 1 << 31;

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F> {
    /// Lets a record wait for a partner.
    pub(super) fn wait(
        &self,
        side: Side,
        place: BufferPosition<'_>,
        value: &[u8],
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Some(unmatched) = &self.unmatched else { return Ok(()) };
        let first = if side == Side::Right { RIGHT } else { 0 };
        // Left numbers stay below the right ones. No key and timestamp has two thousand million
        // records.
        let number = match side {
            Side::Right => next_sequence(unmatched, place, first, cx)?,
            Side::Left => {
                let same =
                    between(unmatched.index, place.key, place.timestamp, place.timestamp, cx)?;
                let lefts = same.iter().map(|(key, _, _)| sequence(key)).filter(|n| *n < RIGHT);
                // The next number would make it a right record.
                after(lefts.max(), 0, RIGHT).ok_or_else(|| no_number(&unmatched.name, place))?
            }
        };
        put(unmatched.index, place, number, value, cx)?;
        cx.states[self.own(side).state].first_unmatched.lower(place.timestamp);
        Ok(())
    }

    /// Handles a record of that side that has found a partner.
    pub(super) fn found(
        &self,
        side: Side,
        key: &[u8],
        at: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Some(unmatched) = self.unmatched.as_ref().filter(|_| self.keeps_unmatched(side)) else {
            return Ok(());
        };
        // Its time has passed: it counts as a result without a partner, even if a later portion
        // sends it.
        if at < self.over_before(side, cx) {
            return Ok(());
        }
        for (store_key, _, _) in between(unmatched.index, key, at, at, cx)? {
            if side_of(&store_key) == side {
                cx.tables.delete(unmatched.index, &store_key);
            }
        }
        Ok(())
    }

    /// Waiting records of that side before this time can have no partner any more, as of the last
    /// search. They are results, whether they were sent already or not.
    fn over_before(&self, side: Side, cx: &TaskContext) -> Timestamp {
        let looked = self.unmatched.as_ref().map(|unmatched| cx.clocks[unmatched.clock].time);
        let grace_and_reach = self.windows.grace_ms + self.reach(side);
        looked.unwrap_or(StreamClock::UNKNOWN).saturating_sub(grace_and_reach)
    }

    /// Finds the records of either side for which stream time says that no partner can arrive, by
    /// time, and what waits after them.
    fn over(&self, unmatched: &JoinTable, cx: &TaskContext) -> Result<Over, Failure> {
        let mut over = Over { records: Vec::new(), next: Vec::new(), until: None };
        for side in [Side::Left, Side::Right].into_iter().filter(|side| self.keeps_unmatched(*side))
        {
            let first = &cx.states[self.own(side).state].first_unmatched;
            let before = self.over_before(side, cx);
            if first.time >= before {
                continue;
            }
            let wanted = |key: &[u8]| side_of_place(key) == side;
            let (found, next) = waiting(unmatched.index, first, before - 1, cx, wanted)?;
            over.records.extend(found.into_iter().map(|(at, key)| (key, at, side)));
            if next.time < before {
                let place = next.key().map(|key| (Box::from(key), next.time));
                over.until = over.until.into_iter().chain(place).min();
            }
            over.next.push((side, next));
        }
        over.records.sort();
        Ok(over)
    }
}

/// Unmatched records, by their store keys.
struct Over {
    records: Vec<(Box<[u8]>, Timestamp, Side)>,
    /// What waits after them.
    next: Vec<(Side, Frontier)>,
    /// From this position on, one of the sides has more of them.
    until: Option<(Box<[u8]>, Timestamp)>,
}

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: 'static,
    F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    /// Handles an advance of stream time: sends a portion of the unmatched records.
    pub(super) fn look_for_unmatched(
        &self,
        time: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Some(unmatched) = &self.unmatched else { return Ok(()) };
        cx.clocks[unmatched.clock].time = time;
        self.send_unmatched(cx)
    }

    /// Sends another portion.
    fn send_unmatched(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        let Some(unmatched) = &self.unmatched else { return Ok(()) };
        let over = self.over(unmatched, cx)?;
        for (place, at, side) in over.records {
            let until = over.until.as_ref().filter(|(until, _)| *until <= place);
            if until.is_some() || !cx.takes_one() {
                cx.portion.is_used_up = true;
                let (place, at) = until.cloned().unwrap_or((place, at));
                for (side, next) in over.next {
                    // Records of the other side may have waited longer.
                    let first = next.or_earlier(at, &place);
                    cx.states[self.own(side).state].first_unmatched = first;
                }
                return Ok(());
            }
            self.send_alone(unmatched, side, &by_key(&place, SUFFIX), cx)?;
        }
        cx.portion.is_used_up |= over.until.is_some();
        for (side, next) in over.next {
            cx.states[self.own(side).state].first_unmatched = next;
        }
        Ok(())
    }

    /// Sends the unmatched records with a key before anything else with that key. Otherwise the
    /// older result would follow the newer one.
    pub(super) fn send_unmatched_of(
        &self,
        key: &[u8],
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Some(unmatched) = &self.unmatched else { return Ok(()) };
        let before = [Side::Left, Side::Right].map(|side| self.over_before(side, cx));
        let last = before[0].max(before[1]).saturating_sub(1);
        for (store_key, at, _) in between(unmatched.index, key, 0, last, cx)? {
            let side = side_of(&store_key);
            if at < self.over_before(side, cx) {
                self.send_alone(unmatched, side, &store_key, cx)?;
            }
        }
        Ok(())
    }

    fn send_alone(
        &self,
        unmatched: &JoinTable,
        side: Side,
        store_key: &[u8],
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Some((timestamp, bytes)) = cx.tables.get(unmatched.index, store_key)? else {
            return Ok(());
        };
        let name = &unmatched.name;
        let (key_bytes, _) = key_and_suffix(store_key, SUFFIX);
        let key = read_back::key(name, &*self.key, key_bytes)?;
        let shown = || read_back::shown(key_bytes);
        let (left, right) = match side {
            Side::Left => (Some(read_back::value(name, &*self.left_value, bytes, shown)?), None),
            Side::Right => (None, Some(read_back::value(name, &*self.right_value, bytes, shown)?)),
        };
        cx.tables.delete(unmatched.index, store_key);
        // A later record releases it, but it is not that record's result, so it has no headers.
        cx.with_headers(Headers::new(), |cx| {
            self.send(key, left.as_ref(), right.as_ref(), timestamp, cx)
        })
    }
}

impl<K, V, W, O, F> Hook for StreamJoin<K, V, W, O, F>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: 'static,
    F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    fn on_due(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.send_unmatched(cx)?;
        self.forget(Side::Left, cx)?;
        self.forget(Side::Right, cx)
    }
}

/// The side of a by-time store key.
fn side_of_place(by_time: &[u8]) -> Side {
    let number = by_time.get(..SUFFIX + 1).and_then(|bytes| bytes.last_chunk::<SEQUENCE>());
    let number = number.map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if number & RIGHT == 0 { Side::Left } else { Side::Right }
}

fn side_of(store_key: &[u8]) -> Side {
    if sequence(store_key) & RIGHT == 0 { Side::Left } else { Side::Right }
}
