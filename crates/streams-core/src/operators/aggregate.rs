//! Aggregation per key, without windows: count, reduce, aggregate.

use std::sync::Arc;

use crate::chain::{Port, Receive};
use crate::codec::{Codec, CodecError};
use crate::cx::Cx;
use crate::error::{Cause, Failure};
use crate::record::{Record, Timestamp};
use crate::table::Table;
use crate::tables::TableIndex;

use super::Hook;

/// How an aggregate grows: the same for every kind of window and for none.
pub(crate) trait Aggregation<K, V, A>: Send + Sync + 'static {
    /// The aggregate with one more value; `None` before the first.
    fn add(&self, aggregate: Option<A>, key: &K, value: V) -> Result<A, Failure>;
}

impl<K, V, A, F> Aggregation<K, V, A> for F
where
    F: Fn(Option<A>, &K, V) -> Result<A, Failure> + Send + Sync + 'static,
{
    #[inline]
    fn add(&self, aggregate: Option<A>, key: &K, value: V) -> Result<A, Failure> {
        self(aggregate, key, value)
    }
}

pub(crate) struct Aggregate<K, A, F> {
    pub(crate) table: Table<K, A>,
    pub(crate) index: TableIndex,
    pub(crate) aggregation: F,
    pub(crate) updates: Port<K, A>,
    pub(crate) latest: Port<K, A>,
}

impl<K: 'static, V: 'static, A: 'static, F> Receive<K, V> for Arc<Aggregate<K, A, F>>
where
    F: Aggregation<K, V, A>,
{
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure> {
        let mut key = std::mem::take(&mut cx.key_buffer);
        key.clear();
        let result = self.add(record, &mut key, cx);
        cx.key_buffer = key;
        if let Some(record) = result? {
            self.updates.receive(record, cx)?;
        }
        Ok(())
    }
}

impl<K: 'static, A: 'static, F> Aggregate<K, A, F> {
    /// Brings the table up to date; the record to hand on, if anybody is behind.
    fn add<V>(
        &self,
        record: Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut Cx,
    ) -> Result<Option<Record<K, A>>, Failure>
    where
        F: Aggregation<K, V, A>,
    {
        write_key(&self.table.name, &*self.table.key, &record.key, key)?;
        let grown = grow(&self.table, self.index, &self.aggregation, key, record, cx)?;
        Ok(self.updates.is_connected().then_some(grown))
    }
}

impl<K: 'static, A: 'static, F: Send + Sync> Hook for Aggregate<K, A, F> {
    /// Sends the last value of each key that changed since the last commit.
    fn on_commit(&self, cx: &mut Cx) -> Result<(), Failure> {
        if !self.latest.is_connected() {
            return Ok(());
        }
        let mut records = Vec::new();
        for (key, value) in cx.tables.written(self.index) {
            let Some((timestamp, value)) = value else { continue };
            let key =
                self.table.key.decode(Some(key)).map_err(|error| broken(&self.table, error))?;
            records.push(Record { key, value: read(&self.table, value)?, timestamp });
        }
        records.into_iter().try_for_each(|record| self.latest.receive(record, cx))
    }
}

/// Adds a record to the aggregate under a store key: the record's key, the new aggregate, and the
/// largest timestamp that the aggregate has seen.
pub(crate) fn grow<K: 'static, V, A: 'static>(
    table: &Table<K, A>,
    index: TableIndex,
    aggregation: &impl Aggregation<K, V, A>,
    store_key: &[u8],
    record: Record<K, V>,
    cx: &mut Cx,
) -> Result<Record<K, A>, Failure> {
    let (at, old) = match cx.tables.get(index, store_key)? {
        Some((at, bytes)) => (at, Some(read(table, bytes)?)),
        None => (Timestamp::MIN, None),
    };
    let timestamp = record.timestamp.max(at);
    let value = aggregation.add(old, &record.key, record.value)?;
    put(table, index, store_key, &value, timestamp, cx)?;
    Ok(Record { key: record.key, value, timestamp })
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

/// Reads an aggregate back from its table.
pub(crate) fn read<K: 'static, A: 'static>(
    table: &Table<K, A>,
    bytes: &[u8],
) -> Result<A, Failure> {
    table.value.decode(Some(bytes)).map_err(|error| broken(table, error))
}

fn broken<K, A>(table: &Table<K, A>, error: CodecError) -> Failure {
    let why = format!("an entry that the table holds cannot be read back: {error}");
    let source = CodecError::new(why);
    Cause::Encode { target: Arc::clone(&table.name), source }.into()
}

/// Writes an aggregate with its timestamp; one that encodes to null is deleted.
pub(crate) fn put<K: 'static, A: 'static>(
    table: &Table<K, A>,
    index: TableIndex,
    key: &[u8],
    value: &A,
    timestamp: Timestamp,
    cx: &mut Cx,
) -> Result<(), Failure> {
    cx.value_buffer.clear();
    cx.value_buffer.extend_from_slice(&timestamp.to_be_bytes());
    let present = table.value.encode(value, &mut cx.value_buffer).map_err(|source| {
        Failure::new(Cause::Encode { target: Arc::clone(&table.name), source })
    })?;
    if present {
        cx.tables.put_stamped(index, key, &cx.value_buffer);
    } else {
        cx.tables.delete(index, key);
    }
    Ok(())
}
