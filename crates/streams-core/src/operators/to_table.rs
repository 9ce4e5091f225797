//! Tables from streams, and derived tables that are stored.

use std::mem;
use std::sync::Arc;

use super::expiring::Expiring;
use crate::change::Change;
use crate::error::Failure;
use crate::operators::table_rows::write_row;
use crate::receive::{Receive, SharedReceiver};
use crate::record::Record;
use crate::state::row_codec::{read, write_key};
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;

/// A table whose rows are set one by one, and the receivers of its changes.
pub(crate) struct MaterializedTable<K, V> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: TableIndex,
    pub(crate) changes: SharedReceiver<K, Change<V>>,
    /// Present if its rows expire.
    pub(crate) expiring: Option<Arc<Expiring>>,
}

/// Sets a row for each record, and forwards the change with the old value.
pub(crate) struct ToTable<K, V>(pub(crate) MaterializedTable<K, V>);

impl<K: Clone + 'static, V: Clone + 'static, R: Into<Option<V>> + 'static> Receive<K, R>
    for ToTable<K, V>
{
    fn receive(&self, record: Record<K, R>, cx: &mut TaskContext) -> Result<(), Failure> {
        let Record { key, value, timestamp } = record;
        self.0.set(Record { key, value: value.into(), timestamp }, cx)
    }
}

/// Stores the rows of a derived table. The old value is what was stored: a join of a table with one
/// derived from it sees the new row on both sides at once, so it does not know the old one.
pub(crate) struct Keep<K, V>(pub(crate) MaterializedTable<K, V>);

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, Change<V>> for Keep<K, V> {
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let Record { key, value: Change { new, .. }, timestamp } = record;
        self.0.set(Record { key, value: new, timestamp }, cx)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> MaterializedTable<K, V> {
    /// Sets or deletes a row, and forwards the change.
    fn set(&self, record: Record<K, Option<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        match &self.expiring {
            None => self.set_row(record, cx),
            Some(table) => table.around(record.timestamp, cx, |cx| self.set_row(record, cx)),
        }
    }

    fn set_row(&self, record: Record<K, Option<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let mut bytes = mem::take(&mut cx.key_buffer);
        bytes.clear();
        let changed = self.replace_row(record, &mut bytes, cx);
        cx.key_buffer = bytes;
        self.changes.receive(changed?, cx)
    }

    /// Replaces a row and returns what it was and what it is now.
    fn replace_row(
        &self,
        record: Record<K, Option<V>>,
        bytes: &mut Vec<u8>,
        cx: &mut TaskContext,
    ) -> Result<Record<K, Change<V>>, Failure> {
        let table = &self.table;
        let Record { key, value: new, timestamp } = record;
        write_key(&table.name, &*table.key, &key, bytes)?;
        if let Some(expiring) = &self.expiring {
            expiring.make_way(bytes, cx)?;
        }
        let old = match cx.tables.get(self.index, bytes)? {
            Some((_, old)) => Some(read(table, bytes, old)?),
            None => None,
        };
        let is_there = write_row(table, self.index, bytes, new.as_ref(), timestamp, cx)?;
        let value = Change { old, new: new.filter(|_| is_there) };
        Ok(Record { key, value, timestamp })
    }
}
