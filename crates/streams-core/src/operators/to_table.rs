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
        let (table, index, new) = (&self.table, self.index, value.into());
        let change = replace_row(table, index, &key, new, timestamp, &mut bytes, cx);
        cx.key_buffer = bytes;
        let value = change?;
        self.changes.receive(Record { key, value, timestamp }, cx)
    }
}

/// Keeps the rows of a derived table. What a row was is what was kept: a join of a table with one
/// that is derived from it sees the new row on both sides at once, and cannot tell.
pub(crate) struct Keep<K, V> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: TableIndex,
    pub(crate) changes: Shared<K, Change<V>>,
}

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, Change<V>> for Keep<K, V> {
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut Cx) -> Result<(), Failure> {
        let Record { key, value: Change { new, .. }, timestamp } = record;
        let mut bytes = mem::take(&mut cx.key_buffer);
        bytes.clear();
        let change = replace_row(&self.table, self.index, &key, new, timestamp, &mut bytes, cx);
        cx.key_buffer = bytes;
        let value = change?;
        self.changes.receive(Record { key, value, timestamp }, cx)
    }
}

/// Sets or deletes a row; what was there and what is there now.
fn replace_row<K: 'static, V: 'static>(
    table: &Table<K, V>,
    index: TableIndex,
    key: &K,
    new: Option<V>,
    timestamp: i64,
    bytes: &mut Vec<u8>,
    cx: &mut Cx,
) -> Result<Change<V>, Failure> {
    write_key(&table.name, &*table.key, key, bytes)?;
    let old = match cx.tables.get(index, bytes)? {
        Some((_, old)) => Some(read(table, bytes, old)?),
        None => None,
    };
    let is_there = write_row(table, index, bytes, new.as_ref(), timestamp, cx)?;
    Ok(Change { old, new: new.filter(|_| is_there) })
}
