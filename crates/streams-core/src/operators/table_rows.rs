//! Reading and writing single rows of a table.

use std::sync::Arc;

use crate::error::{Cause, Failure};
use crate::record::Timestamp;
use crate::state::row_codec::write_key;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;

/// Returns the value that a table has for `key`.
pub(crate) fn get_row<K: 'static, V: 'static>(
    table: &Table<K, V>,
    index: TableIndex,
    key: &K,
    cx: &mut TaskContext,
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
    cx: &mut TaskContext,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    write_key(&table.name, &*table.key, key, &mut bytes)?;
    write_row(table, index, &bytes, value, timestamp, cx).map(drop)
}

/// Writes a row with its timestamp, or deletes it if there is no value or it encodes to null.
/// Returns whether the row exists.
pub(crate) fn write_row<K: 'static, A: 'static>(
    table: &Table<K, A>,
    index: TableIndex,
    key: &[u8],
    value: Option<&A>,
    timestamp: Timestamp,
    cx: &mut TaskContext,
) -> Result<bool, Failure> {
    match value {
        Some(value) => put(table, index, key, value, timestamp, cx),
        None => {
            cx.tables.delete_any(index, key)?;
            Ok(false)
        }
    }
}

/// Writes an aggregate with its timestamp, or deletes it if it encodes to null. Returns whether it
/// exists.
pub(crate) fn put<K: 'static, A: 'static>(
    table: &Table<K, A>,
    index: TableIndex,
    key: &[u8],
    value: &A,
    timestamp: Timestamp,
    cx: &mut TaskContext,
) -> Result<bool, Failure> {
    cx.value_buffer.clear();
    cx.value_buffer.extend_from_slice(&timestamp.to_be_bytes());
    let present = table.value.encode(value, &mut cx.value_buffer).map_err(|source| {
        Failure::new(Cause::Encode { target: Arc::clone(&table.name), source })
    })?;
    if present {
        cx.tables.put_stamped(index, key, &cx.value_buffer)?;
        cx.tables.wait_for(index, timestamp);
    } else {
        cx.tables.delete_any(index, key)?;
    }
    Ok(present)
}
