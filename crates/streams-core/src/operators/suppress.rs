//! Suppress: the latest change of each key waits in a buffer, and leaves it by time or when the
//! buffer is full.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Hook;
use super::rows::Rows;
use crate::change::Change;
use crate::codec::{Codec, HeldChange};
use crate::due::Frontier;
use crate::error::{Cause, Failure};
use crate::operator_state::{OperatorState, StateIndex};
use crate::receive::{Receive, SharedReceiver};
use crate::record::{Headers, Record, Timestamp};
use crate::state::changelog::{
    BY_KEY, BY_TIME, Layout, by_key, by_time, end_of, key_and_suffix, since, write_prefix,
};
use crate::state::read_back;
use crate::state::row_codec::{key_bytes, write_key};
use crate::state::tables::TableIndex;
use crate::stream_clock::{ClockIndex, StreamClock};
use crate::task_context::TaskContext;

/// When a change may be emitted.
pub(crate) enum Until<K> {
    /// When the result of its window is final.
    Final(Finality<K>),
    /// This many milliseconds after the first waiting change.
    Limit(i64),
}

/// When the result of a window is final: this long after its end, in stream time.
pub(crate) struct Finality<K> {
    pub(crate) end: fn(&K) -> Timestamp,
    pub(crate) after_ms: i64,
}

impl<K> Clone for Finality<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Finality<K> {}

pub(crate) struct SuppressedTable<K, V> {
    pub(crate) buffer: Arc<SuppressBuffer<K, V>>,
    pub(crate) clock: ClockIndex,
    pub(crate) state: StateIndex<SuppressState>,
    pub(crate) until: Until<K>,
    pub(crate) max_records: u64,
    pub(crate) max_bytes: u64,
    /// Whether a full buffer is an error.
    pub(crate) fails: bool,
    pub(crate) changes: SharedReceiver<K, Change<V>>,
}

/// What is known about the waiting changes.
#[derive(Clone, Default)]
pub(crate) struct SuppressState {
    /// Those that wait to be emitted.
    first: Frontier,
    /// `None` before they were counted.
    size: Option<BufferSize>,
}

impl OperatorState for SuppressState {}

/// How many entries a buffer has, and their bytes.
#[derive(Clone, Copy)]
struct BufferSize {
    records: u64,
    bytes: u64,
}

/// The waiting changes, by key and by time. An entry's key ends with the time since which it waits
/// and four zero bytes. Its value includes the headers of its record.
pub(crate) struct SuppressBuffer<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: HeldChange<V>,
}

/// The size of what follows the key in an entry's key.
const SUFFIX: usize = size_of::<Timestamp>() + FILLER.len();

/// Suppress keeps one change for each key, so no number has to distinguish them.
const FILLER: [u8; 4] = [0; 4];

/// The layout of the buffer's table.
pub(crate) const LAYOUT: Layout = Layout::Keyed(SUFFIX);

/// A change that waits.
struct SuppressedRow<V> {
    since: Timestamp,
    bytes: u64,
    change: Change<V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, Change<V>> for Arc<SuppressedTable<K, V>> {
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let due_before = self.due(cx);
        let clock = &mut cx.clocks[self.clock];
        clock.time = clock.time.max(record.timestamp);
        self.hold(record, due_before, cx)?;
        self.let_go(self.due(cx), cx)?;
        self.keep_bounds(cx)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Hook for SuppressedTable<K, V> {
    fn on_due(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.let_go(self.due(cx), cx)?;
        // If a full buffer is an error, it is the error of the record that filled it.
        if self.fails { Ok(()) } else { self.keep_bounds(cx) }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SuppressedTable<K, V> {
    /// Changes that have waited since this time, or longer, may be emitted.
    fn due(&self, cx: &TaskContext) -> Timestamp {
        let after_ms = match &self.until {
            Until::Final(finality) => finality.after_ms,
            Until::Limit(limit) => *limit,
        };
        cx.clocks[self.clock].time.saturating_sub(after_ms)
    }

    /// Puts a change into the buffer, in place of the waiting change with its key.
    fn hold(
        &self,
        record: Record<K, Change<V>>,
        due_before: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Record { key, value: change, timestamp } = record;
        let mut store_key = Vec::new();
        write_prefix(&mut store_key, |out| {
            write_key(&self.buffer.name, &*self.buffer.key, &key, out)
        })?;
        let mut waiting = self.buffer.find(&store_key, cx)?;
        // Without portions, it would have been emitted before this change arrived.
        if let Some(due) = waiting.take_if(|waiting| waiting.since <= due_before) {
            self.let_one_go(&entry_key(&store_key, due.since), cx)?;
        }
        let (since, old, replaced) = match waiting {
            Some(waiting) => (waiting.since, waiting.change.old, Some(waiting.bytes)),
            None => match &self.until {
                Until::Final(finality) => ((finality.end)(&key), change.old, None),
                Until::Limit(_) => (timestamp, change.old, None),
            },
        };
        let store_key = entry_key(&store_key, since);
        let change = Change { old, new: change.new };
        let length = self.buffer.put(&store_key, &change, timestamp, cx)?;
        let state = &mut cx.states[self.state];
        state.first.lower_to(since, &by_time(&store_key, SUFFIX));
        if let Some(size) = &mut state.size {
            size.records += u64::from(replaced.is_none());
            size.bytes = (size.bytes + length).saturating_sub(replaced.unwrap_or(0));
        }
        Ok(())
    }

    /// Emits a portion of the changes that have waited since `due` or longer.
    fn let_go(&self, due: Timestamp, cx: &mut TaskContext) -> Result<(), Failure> {
        let first = &cx.states[self.state].first;
        if first.time > due {
            return Ok(());
        }
        let limit = cx.portion.left();
        let (found, mut next) = self.buffer.first(first, due, limit, cx)?;
        for (since, place) in found {
            if !cx.takes_one() {
                next = Frontier::at_entry(since, place);
                break;
            }
            self.let_one_go(&by_key(&place, SUFFIX), cx)?;
        }
        cx.portion.is_used_up |= next.time <= due;
        cx.states[self.state].first = next;
        Ok(())
    }

    /// Emits the change that has waited longest, if it has waited since `to` or longer. Returns
    /// whether it did.
    fn let_first_go(&self, to: Timestamp, cx: &mut TaskContext) -> Result<bool, Failure> {
        let first = &cx.states[self.state].first;
        if first.time > to {
            return Ok(false);
        }
        let (found, next) = self.buffer.first(first, to, 1, cx)?;
        cx.states[self.state].first = next;
        let Some((_, place)) = found.first() else { return Ok(false) };
        self.let_one_go(&by_key(place, SUFFIX), cx)?;
        Ok(true)
    }

    fn let_one_go(&self, store_key: &[u8], cx: &mut TaskContext) -> Result<(), Failure> {
        let Some((timestamp, bytes)) = cx.tables.get(self.buffer.index, store_key)? else {
            return Ok(());
        };
        let length = (store_key.len() + bytes.len()) as u64;
        let (change, headers) = self.buffer.read(store_key, bytes)?;
        let key = read_back::key(&self.buffer.name, &*self.buffer.key, inner(store_key))?;
        cx.tables.delete(self.buffer.index, store_key);
        if let Some(size) = &mut cx.states[self.state].size {
            size.records = size.records.saturating_sub(1);
            size.bytes = size.bytes.saturating_sub(length);
        }
        // A window that no longer exists has no final result.
        if change.new.is_some() || matches!(self.until, Until::Limit(_)) {
            // A later record releases it, but its headers are its own.
            cx.with_headers(headers, |cx| {
                self.changes.receive(Record { key, value: change, timestamp }, cx)
            })?;
        }
        Ok(())
    }

    fn keep_bounds(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        if self.max_records == u64::MAX && self.max_bytes == u64::MAX {
            return Ok(());
        }
        loop {
            let BufferSize { records, bytes } = self.size(cx)?;
            if records <= self.max_records && bytes <= self.max_bytes {
                return Ok(());
            }
            // Changes that are due are emitted in any case.
            if self.let_first_go(self.due(cx), cx)? {
                continue;
            }
            if self.fails {
                let table = Arc::clone(&self.buffer.name);
                return Err(Cause::BufferFull { table, records, bytes }.into());
            }
            // A buffer whose limit was reduced may have much to emit.
            if !cx.takes_one() || !self.let_first_go(Timestamp::MAX - 1, cx)? {
                return Ok(());
            }
        }
    }

    /// The number of waiting changes and their bytes; counted once after a start.
    fn size(&self, cx: &mut TaskContext) -> Result<BufferSize, Failure> {
        if let Some(size) = cx.states[self.state].size {
            return Ok(size);
        }
        let mut size = BufferSize { records: 0, bytes: 0 };
        cx.tables.scan(self.buffer.index, &[BY_KEY], Some(&[BY_TIME]), &mut |key, _, value| {
            size.records += 1;
            size.bytes += (key.len() + value.len()) as u64;
            ControlFlow::Continue(())
        })?;
        Ok(*cx.states[self.state].size.insert(size))
    }
}

impl<K: 'static, V: 'static> SuppressBuffer<K, V> {
    /// Finds the change that waits under a key, given as the prefix of its store key.
    fn find(&self, prefix: &[u8], cx: &TaskContext) -> Result<Option<SuppressedRow<V>>, Failure> {
        let mut found = None;
        let end = end_of(prefix);
        cx.tables.scan(self.index, prefix, end.as_deref(), &mut |key, _, value| {
            found = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })?;
        let Some((store_key, value)) = found else { return Ok(None) };
        let bytes = (store_key.len() + value.len()) as u64;
        let since = time(&store_key[prefix.len()..]);
        let (change, _) = self.read(&store_key, &value)?;
        Ok(Some(SuppressedRow { since, bytes, change }))
    }

    /// Finds up to that many entries that have waited since `to` or longer, starting at `first`:
    /// their times and by-time store keys, and what waits after them.
    fn first(
        &self,
        first: &Frontier,
        to: Timestamp,
        limit: usize,
        cx: &TaskContext,
    ) -> Result<(Vec<(Timestamp, Box<[u8]>)>, Frontier), Failure> {
        let mut found = Vec::new();
        let mut next = Frontier::at(Timestamp::MAX);
        let from = first.key().map_or_else(|| since(first.time), <[u8]>::to_vec);
        cx.tables.scan(self.index, &from, None, &mut |key, _, _| {
            let at = time(key.get(1..).unwrap_or_default());
            if at > to || found.len() == limit {
                next = Frontier::at_entry(at, key);
                return ControlFlow::Break(());
            }
            found.push((at, key.into()));
            ControlFlow::Continue(())
        })?;
        Ok((found, next))
    }

    fn put(
        &self,
        store_key: &[u8],
        change: &Change<V>,
        timestamp: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<u64, Failure> {
        let mut stored = timestamp.to_be_bytes().to_vec();
        let encoded = self.value.write(change, &cx.headers, &mut stored);
        encoded.map_err(|source| Cause::Encode { target: Arc::clone(&self.name), source })?;
        cx.tables.put_stamped(self.index, store_key, &stored)?;
        Ok((store_key.len() + stored.len() - timestamp.to_be_bytes().len()) as u64)
    }

    fn read(&self, store_key: &[u8], bytes: &[u8]) -> Result<(Change<V>, Headers), Failure> {
        self.value.read(bytes).map_err(|error| {
            read_back::broken(&self.name, "value", read_back::shown(inner(store_key)), error)
        })
    }
}

/// The key within a store key.
fn inner(store_key: &[u8]) -> &[u8] {
    key_and_suffix(store_key, SUFFIX).0
}

/// The store key of a change that waits since then, from the prefix of its key.
fn entry_key(prefix: &[u8], since: Timestamp) -> Vec<u8> {
    [prefix, &since.to_be_bytes(), &FILLER].concat()
}

/// Reads eight bytes as a time. Shorter bytes were not written by us, and sort first.
fn time(bytes: &[u8]) -> Timestamp {
    bytes.first_chunk::<8>().map_or(StreamClock::UNKNOWN, |bytes| i64::from_be_bytes(*bytes))
}

/// The timestamp of a row that is stored only as the old value of a change, as in Kafka Streams. It
/// is less than that of any record that looks it up.
const NO_TIME: Timestamp = -1;

/// The rows after a suppress: while a change waits, the row still has the old value.
pub(crate) struct SuppressedRows<K, V> {
    pub(crate) buffer: Arc<SuppressBuffer<K, V>>,
    pub(crate) rows: Arc<dyn Rows<K, V>>,
}

impl<K: 'static, V: 'static> Rows<K, V> for SuppressedRows<K, V> {
    fn get(&self, key: &K, cx: &mut TaskContext) -> Result<Option<(V, Timestamp)>, Failure> {
        let mut prefix = Vec::new();
        let mut has_key = true;
        write_prefix(&mut prefix, |out| {
            has_key = key_bytes(&self.buffer.name, &*self.buffer.key, key, out)?;
            Ok::<(), Failure>(())
        })?;
        if !has_key {
            return Ok(None);
        }
        match self.buffer.find(&prefix, cx)? {
            Some(waiting) => Ok(waiting.change.old.map(|value| (value, NO_TIME))),
            None => self.rows.get(key, cx),
        }
    }
}
