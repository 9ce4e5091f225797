//! Tables from streams, and derived tables that are kept.

use std::mem;

use super::table_access::{read, write_key, write_row};
use crate::chain::{Receive, Shared};
use crate::change::Change;
use crate::cx::Cx;
use crate::error::Failure;
use crate::record::Record;
use crate::table::Table;
use crate::tables::TableIndex;

/// Sets a row for each record, and tells what it was before.
pub(crate) struct ToTable<K, V> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: TableIndex,
    pub(crate) changes: Shared<K, Change<V>>,
}

impl<K: Clone + 'static, V: Clone + 'static, R: Into<Option<V>> + 'static> Receive<K, R>
    for ToTable<K, V>
{
    fn receive(&self, record: Record<K, R>, cx: &mut Cx) -> Result<(), Failure> {
        let Record { key, value, timestamp } = record;
        let mut bytes = mem::take(&mut cx.key_buffer);
        bytes.clear();
        let change = self.set(&key, value.into(), timestamp, &mut bytes, cx);
        cx.key_buffer = bytes;
        let value = change?;
        self.changes.receive(Record { key, value, timestamp }, cx)
    }
}

impl<K: 'static, V: 'static> ToTable<K, V> {
    fn set(
        &self,
        key: &K,
        value: Option<V>,
        timestamp: i64,
        bytes: &mut Vec<u8>,
        cx: &mut Cx,
    ) -> Result<Change<V>, Failure> {
        write_key(&self.table.name, &*self.table.key, key, bytes)?;
        let old = match cx.tables.get(self.index, bytes)? {
            Some((_, old)) => Some(read(&self.table, old)?),
            None => None,
        };
        let new = set_row(&self.table, self.index, bytes, value, timestamp, cx)?;
        Ok(Change { old, new })
    }
}

/// Keeps the rows of a derived table.
pub(crate) struct Keep<K, V> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: TableIndex,
    pub(crate) changes: Shared<K, Change<V>>,
}

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, Change<V>> for Keep<K, V> {
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut Cx) -> Result<(), Failure> {
        let Record { key, value: Change { old, new }, timestamp } = record;
        let mut bytes = mem::take(&mut cx.key_buffer);
        bytes.clear();
        let new = write_key(&self.table.name, &*self.table.key, &key, &mut bytes)
            .and_then(|()| set_row(&self.table, self.index, &bytes, new, timestamp, cx));
        cx.key_buffer = bytes;
        let value = Change { old, new: new? };
        self.changes.receive(Record { key, value, timestamp }, cx)
    }
}

/// Sets or deletes a row; what is there now.
fn set_row<K: 'static, V: 'static>(
    table: &Table<K, V>,
    index: TableIndex,
    key: &[u8],
    value: Option<V>,
    timestamp: i64,
    cx: &mut Cx,
) -> Result<Option<V>, Failure> {
    let is_there = write_row(table, index, key, value.as_ref(), timestamp, cx)?;
    Ok(value.filter(|_| is_there))
}
