//! Suppress: changes wait in a buffer, the latest of each key, and leave it by time or when it is
//! full.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::rows::Rows;
use super::table_access::write_key;
use crate::chain::{Receive, Shared};
use crate::change::Change;
use crate::changelog::{BY_KEY, BY_TIME, since};
use crate::codec::{Codec, Held};
use crate::cx::{Clock, ClockIndex, Cx};
use crate::error::{Cause, Failure};
use crate::record::{Headers, Record, Timestamp};
use crate::stored;
use crate::tables::TableIndex;

/// When a change may leave.
pub(crate) enum Until<K> {
    /// When its window's result is final.
    Final(Finality<K>),
    /// So many milliseconds after the first change that waits.
    Limit(i64),
}

/// When the result of a window is final: in stream time, so long after its end.
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

pub(crate) struct Suppress<K, V> {
    pub(crate) buffer: Arc<SuppressBuffer<K, V>>,
    pub(crate) clock: ClockIndex,
    pub(crate) until: Until<K>,
    pub(crate) max_records: u64,
    pub(crate) max_bytes: u64,
    /// Whether a full buffer is an error.
    pub(crate) fails: bool,
    pub(crate) changes: Shared<K, Change<V>>,
}

/// The changes that wait, by key and by time. An entry's key ends with the time that it waits by
/// and four bytes of zero; its value has the headers of its record.
pub(crate) struct SuppressBuffer<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Held<V>,
}

const SUFFIX: usize = 12;

/// A change that waits.
struct Waiting<V> {
    since: Timestamp,
    bytes: u64,
    change: Change<V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, Change<V>> for Suppress<K, V> {
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut Cx) -> Result<(), Failure> {
        let clock = &mut cx.clocks[self.clock];
        clock.time = clock.time.max(record.timestamp);
        let time = clock.time;
        self.hold(record, cx)?;
        let due = match &self.until {
            Until::Final(finality) => time - finality.after_ms,
            Until::Limit(limit) => time - limit,
        };
        while cx.clocks[self.clock].first_open <= due {
            if !self.let_go_first(due, cx)? {
                break;
            }
        }
        self.keep_bounds(cx)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Suppress<K, V> {
    /// Puts a change into the buffer, in the place of the one of its key that waits already.
    fn hold(&self, record: Record<K, Change<V>>, cx: &mut Cx) -> Result<(), Failure> {
        let Record { key, value: change, timestamp } = record;
        let mut store_key = vec![BY_KEY];
        write_key(&self.buffer.name, &*self.buffer.key, &key, &mut store_key)?;
        let waiting = self.buffer.find(&store_key, cx)?;
        let (since, old, replaced) = match waiting {
            Some(waiting) => (waiting.since, waiting.change.old, Some(waiting.bytes)),
            None => match &self.until {
                Until::Final(finality) => ((finality.end)(&key), change.old, None),
                Until::Limit(_) => (timestamp, change.old, None),
            },
        };
        store_key.extend_from_slice(&since.to_be_bytes());
        store_key.extend_from_slice(&[0; 4]);
        let change = Change { old, new: change.new };
        let length = self.buffer.put(&store_key, &change, timestamp, cx)?;
        let clock = &mut cx.clocks[self.clock];
        clock.first_open = clock.first_open.min(since);
        if let Some((records, bytes)) = &mut clock.held {
            *records += u64::from(replaced.is_none());
            *bytes = (*bytes + length).saturating_sub(replaced.unwrap_or(0));
        }
        Ok(())
    }

    /// Lets the first change go if it waits since `due` or before. Tells whether it did.
    fn let_go_first(&self, due: Timestamp, cx: &mut Cx) -> Result<bool, Failure> {
        let first = self.buffer.first(cx.clocks[self.clock].first_open, cx)?;
        let since = first.as_ref().map_or(Timestamp::MAX, |(since, _)| *since);
        cx.clocks[self.clock].first_open = since;
        let Some((since, store_key)) = first.filter(|_| since <= due) else { return Ok(false) };
        let Some((timestamp, bytes)) = cx.tables.get(self.buffer.index, &store_key)? else {
            return Ok(false);
        };
        let length = (store_key.len() + bytes.len()) as u64;
        let (change, headers) = self.buffer.read(&store_key, bytes)?;
        let key = stored::key(&self.buffer.name, &*self.buffer.key, inner(&store_key))?;
        cx.tables.delete(self.buffer.index, &store_key);
        let clock = &mut cx.clocks[self.clock];
        clock.first_open = since;
        if let Some((records, bytes)) = &mut clock.held {
            *records = records.saturating_sub(1);
            *bytes = bytes.saturating_sub(length);
        }
        // A window that is no more has no final result.
        if change.new.is_some() || matches!(self.until, Until::Limit(_)) {
            // A later record lets it go, and its headers are not this one's.
            cx.with_headers(headers, |cx| {
                self.changes.receive(Record { key, value: change, timestamp }, cx)
            })?;
        }
        Ok(true)
    }

    fn keep_bounds(&self, cx: &mut Cx) -> Result<(), Failure> {
        if self.max_records == u64::MAX && self.max_bytes == u64::MAX {
            return Ok(());
        }
        loop {
            let (records, bytes) = self.held(cx)?;
            if records <= self.max_records && bytes <= self.max_bytes {
                return Ok(());
            }
            if self.fails {
                let table = Arc::clone(&self.buffer.name);
                return Err(Cause::BufferFull { table, records, bytes }.into());
            }
            if !self.let_go_first(Timestamp::MAX, cx)? {
                return Ok(());
            }
        }
    }

    /// How much waits; counted once after a start.
    fn held(&self, cx: &mut Cx) -> Result<(u64, u64), Failure> {
        if let Some(held) = cx.clocks[self.clock].held {
            return Ok(held);
        }
        let (mut records, mut bytes) = (0, 0);
        cx.tables.scan(self.buffer.index, &[BY_KEY], Some(&[BY_TIME]), &mut |key, _, value| {
            records += 1;
            bytes += (key.len() + value.len()) as u64;
            ControlFlow::Continue(())
        })?;
        Ok(*cx.clocks[self.clock].held.insert((records, bytes)))
    }
}

impl<K: 'static, V: 'static> SuppressBuffer<K, V> {
    /// What waits under a key, given as the beginning of its store key.
    fn find(&self, prefix: &[u8], cx: &Cx) -> Result<Option<Waiting<V>>, Failure> {
        let mut found = None;
        cx.tables.scan(self.index, prefix, None, &mut |key, _, value| {
            if !key.starts_with(prefix) {
                return ControlFlow::Break(());
            }
            // Another key that begins like this one may lie between.
            if key.len() != prefix.len() + SUFFIX {
                return ControlFlow::Continue(());
            }
            found = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })?;
        let Some((store_key, value)) = found else { return Ok(None) };
        let bytes = (store_key.len() + value.len()) as u64;
        let since = time(&store_key[prefix.len()..]);
        let (change, _) = self.read(&store_key, &value)?;
        Ok(Some(Waiting { since, bytes, change }))
    }

    /// The entry that waits longest; none waits since before `from`.
    fn first(&self, from: Timestamp, cx: &Cx) -> Result<Option<(Timestamp, Vec<u8>)>, Failure> {
        let mut first = None;
        cx.tables.scan(self.index, &since(from), None, &mut |key, _, _| {
            let key = key.get(1..).unwrap_or_default();
            let (suffix, key) = key.split_at(key.len().min(SUFFIX));
            first = Some((time(suffix), [&[BY_KEY], key, suffix].concat()));
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    fn put(
        &self,
        store_key: &[u8],
        change: &Change<V>,
        timestamp: Timestamp,
        cx: &mut Cx,
    ) -> Result<u64, Failure> {
        let mut stored = timestamp.to_be_bytes().to_vec();
        let encoded = self.value.write(change, &cx.headers, &mut stored);
        encoded.map_err(|source| Cause::Encode { target: Arc::clone(&self.name), source })?;
        cx.tables.put_stamped(self.index, store_key, &stored);
        Ok((store_key.len() + stored.len() - timestamp.to_be_bytes().len()) as u64)
    }

    fn read(&self, store_key: &[u8], bytes: &[u8]) -> Result<(Change<V>, Headers), Failure> {
        self.value.read(bytes).map_err(|error| {
            stored::broken(&self.name, "value", stored::shown(inner(store_key)), error)
        })
    }
}

/// The key within a store key.
fn inner(store_key: &[u8]) -> &[u8] {
    store_key.get(1..store_key.len().saturating_sub(SUFFIX)).unwrap_or_default()
}

/// Eight bytes as a time; what is shorter was not written by us and sorts first.
fn time(bytes: &[u8]) -> Timestamp {
    bytes.first_chunk::<8>().map_or(Clock::UNKNOWN, |bytes| i64::from_be_bytes(*bytes))
}

/// The timestamp of a row that is kept only as what a change replaces, as in Kafka Streams: it is
/// less than that of whatever looks it up.
const NO_TIME: Timestamp = -1;

/// The rows behind a suppress: where a change waits, the row is still the old one.
pub(crate) struct SuppressedRows<K, V> {
    pub(crate) buffer: Arc<SuppressBuffer<K, V>>,
    pub(crate) rows: Arc<dyn Rows<K, V>>,
}

impl<K: 'static, V: 'static> Rows<K, V> for SuppressedRows<K, V> {
    fn get(&self, key: &K, cx: &mut Cx) -> Result<Option<(V, Timestamp)>, Failure> {
        let mut prefix = vec![BY_KEY];
        let encoded = self.buffer.key.encode(key, &mut prefix);
        let has_key = encoded
            .map_err(|source| Cause::Encode { target: Arc::clone(&self.buffer.name), source })?;
        if !has_key {
            return Ok(None);
        }
        match self.buffer.find(&prefix, cx)? {
            Some(waiting) => Ok(waiting.change.old.map(|value| (value, NO_TIME))),
            None => self.rows.get(key, cx),
        }
    }
}
