//! The records of each side, for as long as partners can arrive.
//!
//! An entry's key is the record's key, its timestamp (8 bytes) and a sequence number (4 bytes) that
//! distinguishes records with the same key and timestamp.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{JoinTable, Side, StreamJoin};
use crate::codec::CodecError;
use crate::due::Frontier;
use crate::error::Failure;
use crate::record::Timestamp;
use crate::state::changelog::{self, Layout, prefix, since};
use crate::state::read_back;
use crate::state::tables::TableIndex;
use crate::task_context::TaskContext;
use crate::window::JoinWindows;

/// The position of a record in a buffer.
#[derive(Clone, Copy)]
pub(super) struct BufferPosition<'a> {
    pub(super) key: &'a [u8],
    pub(super) timestamp: Timestamp,
}

/// The size of what follows the key in an entry's key.
pub(super) const SUFFIX: usize = size_of::<Timestamp>() + SEQUENCE;
pub(super) const SEQUENCE: usize = size_of::<u32>();

/// The layout of the join's tables.
pub(crate) const LAYOUT: Layout = Layout::Keyed(SUFFIX);

/// Store key, timestamp, value.
pub(super) type BufferEntry = (Box<[u8]>, Timestamp, Box<[u8]>);

impl<K, V, W, O, F> StreamJoin<K, V, W, O, F> {
    /// How long a record stays: it is deleted when the newest record of its side is that much
    /// later.
    ///
    /// Kafka Streams uses the sum of both bounds and the grace. If partners can only be later (or
    /// only earlier), that is exactly the moment at which the last partner may still arrive, so it
    /// is one millisecond longer here.
    fn retention(&self, side: Side) -> i64 {
        let JoinWindows { before_ms, after_ms, grace_ms } = self.windows;
        (before_ms + after_ms + grace_ms).max(self.reach(side) + grace_ms + 1)
    }

    /// Puts a record into its side's buffer, unless it is too old for any partner.
    pub(super) fn remember(
        &self,
        side: Side,
        place: BufferPosition<'_>,
        value: &[u8],
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let own = self.own(side);
        let clock = &mut cx.clocks[own.table.clock];
        clock.time = clock.time.max(place.timestamp);
        let oldest = clock.time.saturating_sub(self.retention(side));
        if place.timestamp > oldest {
            cx.states[own.state].first_kept.lower(place.timestamp);
            let sequence = next_sequence(&own.table, place, 0, cx)?;
            put(own.table.index, place, sequence, value, cx)?;
        }
        self.forget(side, cx)
    }

    /// Records of a side that are this old, or older, can have no partner.
    fn oldest(&self, side: Side, cx: &TaskContext) -> Timestamp {
        cx.clocks[self.own(side).table.clock].time.saturating_sub(self.retention(side))
    }

    /// Deletes a portion of the records of a side that are too old for any partner.
    pub(super) fn forget(&self, side: Side, cx: &mut TaskContext) -> Result<(), Failure> {
        let own = self.own(side);
        let oldest = self.oldest(side, cx);
        let first = &cx.states[own.state].first_kept;
        if first.time > oldest {
            return Ok(());
        }
        let (old, mut next) = waiting(own.table.index, first, oldest, cx, |_| true)?;
        for (at, by_time) in old {
            if !cx.takes_one() {
                next = Frontier::at_entry(at, by_time);
                break;
            }
            cx.tables.delete(own.table.index, &changelog::by_key(&by_time, SUFFIX));
        }
        cx.portion.is_used_up |= next.time <= oldest;
        cx.states[own.state].first_kept = next;
        Ok(())
    }

    /// Returns the matching records of the other side, by time, then in the order of arrival.
    pub(super) fn partners(
        &self,
        side: Side,
        place: BufferPosition<'_>,
        cx: &TaskContext,
    ) -> Result<Vec<(Timestamp, Box<[u8]>)>, Failure> {
        let other = side.other();
        // Old records count as deleted even if the buffer still has them: the result must not
        // depend on how far the portions have come.
        let oldest = self.oldest(other, cx);
        let from = (place.timestamp - self.reach(other)).max(oldest.saturating_add(1)).max(0);
        let to = place.timestamp + self.reach(side);
        let found = between(self.own(other).table.index, place.key, from, to, cx)?;
        Ok(found.into_iter().map(|(_, at, value)| (at, value)).collect())
    }
}

/// The entries of a key between two timestamps, both included.
pub(super) fn between(
    table: TableIndex,
    key: &[u8],
    from: Timestamp,
    to: Timestamp,
    cx: &TaskContext,
) -> Result<Vec<BufferEntry>, Failure> {
    let prefix = prefix(key);
    let start = [&prefix[..], &from.to_be_bytes()].concat();
    let end = [&prefix[..], &to.saturating_add(1).to_be_bytes()].concat();
    let mut found = Vec::new();
    cx.tables.scan(table, &start, Some(&end), &mut |store_key, _, value| {
        let at = time(&store_key[prefix.len()..]);
        found.push((store_key.into(), at, value.into()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The first free sequence number from `first` on, for a key and timestamp.
pub(super) fn next_sequence(
    table: &JoinTable,
    place: BufferPosition<'_>,
    first: u32,
    cx: &TaskContext,
) -> Result<u32, Failure> {
    let same = between(table.index, place.key, place.timestamp, place.timestamp, cx)?;
    let numbers = same.iter().map(|(key, _, _)| sequence(key));
    let last = numbers.filter(|number| *number >= first).max();
    after(last, first, u32::MAX).ok_or_else(|| no_number(&table.name, place))
}

/// The number after `last`, or `first`. It must be less than `end`.
pub(super) fn after(last: Option<u32>, first: u32, end: u32) -> Option<u32> {
    last.map_or(Some(first), |last| last.checked_add(1)).filter(|number| *number < end)
}

/// The failure if a key and timestamp have no free number: the join has not written such entries.
pub(super) fn no_number(table: &Arc<str>, place: BufferPosition<'_>) -> Failure {
    let key = format!("{} at {}", read_back::shown(place.key), place.timestamp);
    let why = CodecError::new("its number is the highest that there is");
    read_back::broken(table, "key", key, why)
}

/// Writes an entry, with its record's timestamp.
pub(super) fn put(
    table: TableIndex,
    place: BufferPosition<'_>,
    sequence: u32,
    value: &[u8],
    cx: &mut TaskContext,
) -> Result<(), Failure> {
    let at = place.timestamp.to_be_bytes();
    let key = [&prefix(place.key)[..], &at, &sequence.to_be_bytes()].concat();
    cx.tables.put_stamped(table, &key, &[&at, value].concat())
}

/// Timestamps and by-time store keys.
pub(super) type Waiting = Vec<(Timestamp, Box<[u8]>)>;

/// The `wanted` entries from `first` up to the timestamp `to`, as many as the portion allows, and
/// what waits after them.
pub(super) fn waiting(
    table: TableIndex,
    first: &Frontier,
    to: Timestamp,
    cx: &TaskContext,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<(Waiting, Frontier), Failure> {
    let mut found = Vec::new();
    let mut next = Frontier::at(Timestamp::MAX);
    let from = first.key().map_or_else(|| since(first.time), <[u8]>::to_vec);
    let limit = cx.portion.left();
    cx.tables.scan(table, &from, None, &mut |key, _, _| {
        let at = time(key.get(1..).unwrap_or_default());
        if at > to {
            next = Frontier::at(at);
            return ControlFlow::Break(());
        }
        if !wanted(key) {
            return ControlFlow::Continue(());
        }
        if found.len() == limit {
            next = Frontier::at_entry(at, key);
            return ControlFlow::Break(());
        }
        found.push((at, key.into()));
        ControlFlow::Continue(())
    })?;
    Ok((found, next))
}

pub(super) fn sequence(store_key: &[u8]) -> u32 {
    store_key.last_chunk::<SEQUENCE>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Reads eight bytes as a time. Shorter bytes were not written by us, and sort first.
fn time(bytes: &[u8]) -> Timestamp {
    bytes.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
