//! Records that found no partner yet: they are results of their own when none can come any more.
//!
//! They lie as in the buffers; the highest bit of the sequence number tells the side.

use std::ops::ControlFlow;

use super::buffer::{
    Place, SUFFIX, after, between, by_key, next_sequence, no_number, put, sequence,
};
use super::{JoinSide, Side, StreamJoin};
use crate::changelog::since;
use crate::cx::Cx;
use crate::error::Failure;
use crate::record::{Headers, Timestamp};
use crate::stored;

const RIGHT: u32 = 1 << 31;

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F> {
    /// Lets a record wait for a partner.
    pub(super) fn wait(
        &self,
        side: Side,
        place: Place<'_>,
        value: &[u8],
        cx: &mut Cx,
    ) -> Result<(), Failure> {
        let Some(unmatched) = &self.unmatched else { return Ok(()) };
        let first = if side == Side::Right { RIGHT } else { 0 };
        // Left numbers stay below the right ones: nobody has two thousand million records with
        // the same key and timestamp.
        let number = match side {
            Side::Right => next_sequence(unmatched, place, first, cx)?,
            Side::Left => {
                let same =
                    between(unmatched.table, place.key, place.timestamp, place.timestamp, cx)?;
                let lefts = same.iter().map(|(key, _, _)| sequence(key)).filter(|n| *n < RIGHT);
                // The last of them would make it a right one.
                after(lefts.max(), 0, RIGHT).ok_or_else(|| no_number(&unmatched.name, place))?
            }
        };
        put(unmatched.table, place, number, value, cx);
        let clock = &mut cx.clocks[unmatched.clock];
        clock.time = clock.time.max(place.timestamp);
        clock.first_open = clock.first_open.min(place.timestamp);
        Ok(())
    }

    /// A record of that side found a partner.
    pub(super) fn found(
        &self,
        side: Side,
        key: &[u8],
        at: Timestamp,
        cx: &mut Cx,
    ) -> Result<(), Failure> {
        let Some(unmatched) = self.unmatched.as_ref().filter(|_| self.keeps_unmatched(side)) else {
            return Ok(());
        };
        for (store_key, _, _) in between(unmatched.table, key, at, at, cx)? {
            if side_of(&store_key) == side {
                cx.tables.delete(unmatched.table, &store_key);
            }
        }
        Ok(())
    }

    /// The records of which stream time says that no partner can come, by time; they are deleted.
    fn take_unmatched(&self, cx: &mut Cx) -> Result<Vec<(Side, Vec<u8>)>, Failure> {
        let Some(unmatched) = &self.unmatched else { return Ok(Vec::new()) };
        let time = cx.clocks[self.clock].time - self.windows.grace_ms;
        let nearest = self.windows.after_ms.min(self.windows.before_ms);
        if cx.clocks[unmatched.clock].first_open >= time - nearest {
            return Ok(Vec::new());
        }
        let (mut over, mut next) = (Vec::new(), Timestamp::MAX);
        let first = since(cx.clocks[unmatched.clock].first_open);
        cx.tables.scan(unmatched.table, &first, None, &mut |key, _, _| {
            let (at, by_key) = by_key(key);
            let side = side_of(&by_key);
            if at >= time - nearest {
                next = next.min(at);
                return ControlFlow::Break(());
            }
            if at + self.reach(side) < time {
                over.push((side, by_key));
            } else {
                next = next.min(at);
            }
            ControlFlow::Continue(())
        })?;
        cx.clocks[unmatched.clock].first_open = next;
        Ok(over)
    }
}

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: 'static,
    F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    /// Sends what waited in vain. A later record lets it out, and it is not that one's result: it
    /// has no headers.
    pub(super) fn send_unmatched(&self, cx: &mut Cx) -> Result<(), Failure> {
        let over = self.take_unmatched(cx)?;
        let Some(unmatched) = &self.unmatched else { return Ok(()) };
        cx.with_headers(Headers::new(), |cx| {
            for (side, store_key) in over {
                self.send_alone(unmatched, side, &store_key, cx)?;
            }
            Ok(())
        })
    }

    fn send_alone(
        &self,
        unmatched: &JoinSide,
        side: Side,
        store_key: &[u8],
        cx: &mut Cx,
    ) -> Result<(), Failure> {
        let Some((timestamp, bytes)) = cx.tables.get(unmatched.table, store_key)? else {
            return Ok(());
        };
        let name = &unmatched.name;
        let key_bytes = store_key.get(1..store_key.len().saturating_sub(SUFFIX));
        let key_bytes = key_bytes.unwrap_or_default();
        let key = stored::key(name, &*self.key, key_bytes)?;
        let shown = || stored::shown(key_bytes);
        match side {
            Side::Left => {
                let value = stored::value(name, &*self.left_value, bytes, shown)?;
                cx.tables.delete(unmatched.table, store_key);
                self.send(key, Some(&value), None, timestamp, cx)
            }
            Side::Right => {
                let value = stored::value(name, &*self.right_value, bytes, shown)?;
                cx.tables.delete(unmatched.table, store_key);
                self.send(key, None, Some(&value), timestamp, cx)
            }
        }
    }
}

fn side_of(store_key: &[u8]) -> Side {
    if sequence(store_key) & RIGHT == 0 { Side::Left } else { Side::Right }
}
