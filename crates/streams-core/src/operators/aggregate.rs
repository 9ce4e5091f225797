//! Aggregation per key, without windows: count, reduce, aggregate.

use std::sync::Arc;

use super::table_rows::write_row;
use crate::change::Change;
use crate::error::Failure;
use crate::receive::{Port, Receive};
use crate::record::Record;
use crate::state::row_codec::{read, read_key, write_key};
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;

use super::Hook;
use super::expiring::Expiring;

/// How an aggregate grows. It is the same with and without windows.
pub(crate) trait Aggregation<K, V, A>: Send + Sync + 'static {
    /// Adds a value to the aggregate, which is `None` before the first value and after a deletion.
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
    /// Present if its rows expire.
    pub(crate) expiring: Option<Arc<Expiring>>,
}

impl<K: 'static, V: 'static, A: 'static, F> Receive<K, V> for Arc<Aggregate<K, A, F>>
where
    F: Aggregation<K, V, A>,
{
    #[inline]
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        match &self.expiring {
            None => self.take(record, cx),
            Some(table) => table.around(record.timestamp, cx, |cx| self.take(record, cx)),
        }
    }
}

impl<K: 'static, A: 'static, F> Aggregate<K, A, F> {
    fn take<V: 'static>(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure>
    where
        F: Aggregation<K, V, A>,
    {
        let mut key = std::mem::take(&mut cx.key_buffer);
        key.clear();
        let result = self.add(record, &mut key, cx);
        cx.key_buffer = key;
        let (Record { key, value, timestamp }, old, is_there) = result?;
        // At most one of them is connected.
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

    /// Updates the table with the new aggregate and the largest timestamp that it has seen. Returns
    /// the record, the old aggregate if a receiver needs it, and whether the new one exists or was
    /// null and deleted.
    fn add<V>(
        &self,
        record: Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut TaskContext,
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
    fn on_commit(&self, cx: &mut TaskContext) -> Result<(), Failure> {
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
