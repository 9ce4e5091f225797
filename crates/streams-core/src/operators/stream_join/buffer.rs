//! The records of each side, as long as partners can come.
//!
//! An entry's key is the record's key, its timestamp (8 bytes) and a sequence number (4 bytes) that
//! tells records with the same key and timestamp apart.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{JoinSide, Side, StreamJoin};
use crate::changelog::{BY_KEY, since};
use crate::codec::CodecError;
use crate::cx::Cx;
use crate::error::Failure;
use crate::record::Timestamp;
use crate::stored;
use crate::tables::TableIndex;

/// Where a record is in a buffer.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a [u8],
    pub(super) timestamp: Timestamp,
}

pub(super) const SUFFIX: usize = 12;

/// Store key, timestamp, value.
pub(super) type Entry = (Box<[u8]>, Timestamp, Box<[u8]>);

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F> {
    /// How long a buffer keeps records.
    fn retention(&self) -> i64 {
        self.windows.before_ms + self.windows.after_ms + self.windows.grace_ms
    }

    /// Puts a record into its side's buffer, unless it is too old for any partner.
    pub(super) fn remember(
        &self,
        side: Side,
        place: Place<'_>,
        value: &[u8],
        cx: &mut Cx,
    ) -> Result<(), Failure> {
        let own = self.own(side);
        let clock = &mut cx.clocks[own.clock];
        clock.time = clock.time.max(place.timestamp);
        let oldest = clock.time - self.retention();
        if place.timestamp > oldest {
            clock.first_kept = clock.first_kept.min(place.timestamp);
            let sequence = next_sequence(own, place, 0, cx)?;
            put(own.table, place, sequence, value, cx);
        }
        if cx.clocks[own.clock].first_kept <= oldest {
            self.forget(side, oldest, cx)?;
        }
        Ok(())
    }

    /// Deletes the records of a side that are as old as `oldest` or older.
    fn forget(&self, side: Side, oldest: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let own = self.own(side);
        let (mut old, mut next) = (Vec::new(), Timestamp::MAX);
        let first = since(cx.clocks[own.clock].first_kept);
        cx.tables.scan(own.table, &first, None, &mut |key, _, _| {
            let (at, by_key) = by_key(key);
            if at > oldest {
                next = at;
                return ControlFlow::Break(());
            }
            old.push(by_key);
            ControlFlow::Continue(())
        })?;
        cx.clocks[own.clock].first_kept = next;
        old.iter().for_each(|key| cx.tables.delete(own.table, key));
        Ok(())
    }

    /// The records of the other side that belong to this one, by time, then as they came.
    pub(super) fn partners(
        &self,
        side: Side,
        place: Place<'_>,
        cx: &Cx,
    ) -> Result<Vec<(Timestamp, Box<[u8]>)>, Failure> {
        let other = side.other();
        let from = (place.timestamp - self.reach(other)).max(0);
        let to = place.timestamp + self.reach(side);
        let found = between(self.own(other).table, place.key, from, to, cx)?;
        Ok(found.into_iter().map(|(_, at, value)| (at, value)).collect())
    }
}

/// The entries of a key between two timestamps, both included.
pub(super) fn between(
    table: TableIndex,
    key: &[u8],
    from: Timestamp,
    to: Timestamp,
    cx: &Cx,
) -> Result<Vec<Entry>, Failure> {
    let prefix = [&[BY_KEY], key].concat();
    let start = [&prefix[..], &from.to_be_bytes()].concat();
    let mut found = Vec::new();
    cx.tables.scan(table, &start, None, &mut |store_key, _, value| {
        if !store_key.starts_with(&prefix) {
            return ControlFlow::Break(());
        }
        // Another key that begins like this one may lie between.
        if store_key.len() != prefix.len() + SUFFIX {
            return ControlFlow::Continue(());
        }
        let at = time(&store_key[prefix.len()..]);
        if at > to {
            return ControlFlow::Break(());
        }
        found.push((store_key.into(), at, value.into()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The first sequence number from `first` on that is free for a key and timestamp.
pub(super) fn next_sequence(
    side: &JoinSide,
    place: Place<'_>,
    first: u32,
    cx: &Cx,
) -> Result<u32, Failure> {
    let same = between(side.table, place.key, place.timestamp, place.timestamp, cx)?;
    let numbers = same.iter().map(|(key, _, _)| sequence(key));
    let last = numbers.filter(|number| *number >= first).max();
    after(last, first, u32::MAX).ok_or_else(|| no_number(&side.name, place))
}

/// The number after `last`, or `first`; it must be below `end`.
pub(super) fn after(last: Option<u32>, first: u32, end: u32) -> Option<u32> {
    last.map_or(Some(first), |last| last.checked_add(1)).filter(|number| *number < end)
}

/// The numbers of a key and timestamp are used up: no join has written that.
pub(super) fn no_number(table: &Arc<str>, place: Place<'_>) -> Failure {
    let key = format!("{} at {}", stored::shown(place.key), place.timestamp);
    let why = CodecError::new("its number is the highest that there is");
    stored::broken(table, "key", key, why)
}

/// Writes an entry, with its record's timestamp.
pub(super) fn put(table: TableIndex, place: Place<'_>, sequence: u32, value: &[u8], cx: &mut Cx) {
    let at = place.timestamp.to_be_bytes();
    let key = [&[BY_KEY], place.key, &at, &sequence.to_be_bytes()].concat();
    cx.tables.put_stamped(table, &key, &[&at, value].concat());
}

/// The timestamp in a store key found by time, and the store key found by key.
pub(super) fn by_key(by_time: &[u8]) -> (Timestamp, Vec<u8>) {
    let rest = by_time.get(1..).unwrap_or_default();
    let (suffix, key) = rest.split_at(rest.len().min(SUFFIX));
    (time(suffix), [&[BY_KEY], key, suffix].concat())
}

pub(super) fn sequence(store_key: &[u8]) -> u32 {
    store_key.last_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Eight bytes as a time; what is shorter was not written by us and sorts first.
fn time(bytes: &[u8]) -> Timestamp {
    bytes.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
