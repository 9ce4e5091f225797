//! Aggregation per key, without windows: count, reduce, aggregate.

use std::sync::Arc;

use crate::chain::{Port, Receive};
use crate::change::Change;
use crate::codec::Codec;
use crate::cx::Cx;
use crate::error::{Cause, Failure};
use crate::record::{Record, Timestamp};
use crate::stored;
use crate::table::Table;
use crate::tables::TableIndex;

use super::Hook;
use super::expiring::{Expiring, note_row};

/// How an aggregate grows: the same for every kind of window and for none.
pub(crate) trait Aggregation<K, V, A>: Send + Sync + 'static {
    /// The aggregate with one more value; `None` before the first, and if there is none any more.
    fn add(&self, aggregate: Option<A>, key: &K, value: V) -> Result<Option<A>, Failure>;
}

impl<K, V, A, F> Aggregation<K, V, A> for F
where
    F: Fn(Option<A>, &K, V) -> Result<Option<A>, Failure> + Send + Sync + 'static,
{
    #[inline]
    fn add(&self, aggregate: Option<A>, key: &K, value: V) -> Result<Option<A>, Failure> {
        self(aggregate, key, value)
    }
}

pub(crate) struct Aggregate<K, A, F> {
    pub(crate) table: Table<K, A>,
    pub(crate) index: TableIndex,
    pub(crate) aggregation: F,
    pub(crate) updates: Port<K, A>,
    pub(crate) latest: Port<K, A>,
    pub(crate) changes: Port<K, Change<A>>,
    /// If its rows are not kept for ever.
    pub(crate) expiring: Option<Arc<Expiring>>,
}

impl<K: 'static, V: 'static, A: 'static, F> Receive<K, V> for Arc<Aggregate<K, A, F>>
where
    F: Aggregation<K, V, A>,
{
    #[inline]
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure> {
        match &self.expiring {
            None => self.take(record, cx),
            Some(table) => table.around(record.timestamp, cx, |cx| self.take(record, cx)),
        }
    }
}

impl<K: 'static, A: 'static, F> Aggregate<K, A, F> {
    fn take<V: 'static>(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure>
    where
        F: Aggregation<K, V, A>,
    {
        let mut key = std::mem::take(&mut cx.key_buffer);
        key.clear();
        let result = self.add(record, &mut key, cx);
        cx.key_buffer = key;
        let (Record { key, value, timestamp }, old, is_there) = result?;
        // One of them at most is connected.
        if self.changes.is_connected() {
            let value = Change { old, new: value.filter(|_| is_there) };
            return self.changes.receive(Record { key, value, timestamp }, cx);
        }
        match value {
            Some(value) if self.updates.is_connected() => {
                self.updates.receive(Record { key, value, timestamp }, cx)
            }
            _ => Ok(()),
        }
    }

    /// Brings the table up to date: the record's key with the new aggregate and the largest
    /// timestamp that it has seen; the old aggregate, if somebody wants it; whether the new one is
    /// there, or was null and deleted.
    fn add<V>(
        &self,
        record: Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut Cx,
    ) -> Result<(Record<K, Option<A>>, Option<A>, bool), Failure>
    where
        F: Aggregation<K, V, A>,
    {
        write_key(&self.table.name, &*self.table.key, &record.key, key)?;
        if let Some(table) = &self.expiring {
            table.make_way(key, cx)?;
        }
        let mut at = record.timestamp;
        let mut base = None;
        let mut old = None;
        if let Some((latest, bytes)) = cx.tables.get(self.index, key)? {
            at = at.max(latest);
            base = Some(read(&self.table, key, bytes)?);
            if self.changes.is_connected() {
                old = Some(read(&self.table, key, bytes)?);
            }
        }
        let value = self.aggregation.add(base, &record.key, record.value)?;
        let is_there = write_row(&self.table, self.index, key, value.as_ref(), at, cx)?;
        Ok((Record { key: record.key, value, timestamp: at }, old, is_there))
    }
}

impl<K: 'static, A: 'static, F: Send + Sync> Hook for Aggregate<K, A, F> {
    /// Sends the last value of each key that changed since the last commit.
    fn on_commit(&self, cx: &mut Cx) -> Result<(), Failure> {
        if !self.latest.is_connected() {
            return Ok(());
        }
        let mut records = Vec::new();
        for (bytes, value) in cx.tables.written(self.index) {
            let Some((timestamp, value)) = value else { continue };
            let key = read_key(&self.table, bytes)?;
            records.push(Record { key, value: read(&self.table, bytes, value)?, timestamp });
        }
        records.into_iter().try_for_each(|record| self.latest.receive(record, cx))
    }
}

/// The value that a table has for `key`.
pub(crate) fn get_row<K: 'static, V: 'static>(
    table: &Table<K, V>,
    index: TableIndex,
    key: &K,
    cx: &mut Cx,
) -> Result<Option<V>, Failure> {
    crate::reader::row(table, index, key, &mut cx.tables)
}

/// Sets the value that a table has for `key`, or deletes it.
pub(crate) fn set_row<K: 'static, V: 'static>(
    table: &Table<K, V>,
    index: TableIndex,
    key: &K,
    value: Option<&V>,
    timestamp: Timestamp,
    cx: &mut Cx,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    write_key(&table.name, &*table.key, key, &mut bytes)?;
    write_row(table, index, &bytes, value, timestamp, cx).map(drop)
}

/// Appends a table key's bytes; null is an error.
pub(crate) fn write_key<K: 'static>(
    table: &Arc<str>,
    codec: &dyn Codec<K>,
    key: &K,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    match codec.encode(key, out) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Cause::NullKey { target: Arc::clone(table) }.into()),
        Err(source) => Err(Cause::Encode { target: Arc::clone(table), source }.into()),
    }
}

/// A table key's bytes, or `None` for the null key, which no table has.
pub(crate) fn key_bytes<K: 'static>(
    table: &Arc<str>,
    codec: &dyn Codec<K>,
    key: &K,
    out: &mut Vec<u8>,
) -> Result<bool, Failure> {
    let encoded = codec.encode(key, out);
    encoded.map_err(|source| Cause::Encode { target: Arc::clone(table), source }.into())
}

/// Reads a key back from its table.
pub(crate) fn read_key<K: 'static, A>(table: &Table<K, A>, bytes: &[u8]) -> Result<K, Failure> {
    stored::key(&table.name, &*table.key, bytes)
}

/// Reads the value of a key back from its table.
pub(crate) fn read<K: 'static, A: 'static>(
    table: &Table<K, A>,
    key: &[u8],
    bytes: &[u8],
) -> Result<A, Failure> {
    stored::value(&table.name, &*table.value, bytes, || stored::shown(key))
}

/// Writes a row with its timestamp, or deletes it: also if its value encodes to null. Tells whether
/// it is there.
pub(crate) fn write_row<K: 'static, A: 'static>(
    table: &Table<K, A>,
    index: TableIndex,
    key: &[u8],
    value: Option<&A>,
    timestamp: Timestamp,
    cx: &mut Cx,
) -> Result<bool, Failure> {
    match value {
        Some(value) => put(table, index, key, value, timestamp, cx),
        None => {
            cx.tables.delete_any(index, key)?;
            Ok(false)
        }
    }
}

/// Writes an aggregate with its timestamp; one that encodes to null is deleted. Tells whether it is
/// there.
pub(crate) fn put<K: 'static, A: 'static>(
    table: &Table<K, A>,
    index: TableIndex,
    key: &[u8],
    value: &A,
    timestamp: Timestamp,
    cx: &mut Cx,
) -> Result<bool, Failure> {
    cx.value_buffer.clear();
    cx.value_buffer.extend_from_slice(&timestamp.to_be_bytes());
    let present = table.value.encode(value, &mut cx.value_buffer).map_err(|source| {
        Failure::new(Cause::Encode { target: Arc::clone(&table.name), source })
    })?;
    if present {
        cx.tables.put_stamped(index, key, &cx.value_buffer)?;
        note_row(index, timestamp, cx);
    } else {
        cx.tables.delete_any(index, key)?;
    }
    Ok(present)
}
