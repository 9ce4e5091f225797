//! Rows: what a table has for a key right now, for operators that join with it.

use std::mem;
use std::sync::Arc;

use crate::error::Failure;
use crate::record::Timestamp;
use crate::state::read_back;
use crate::state::row_codec::{key_bytes, read};
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;
use crate::window::{Window, Windowed, Windows};

/// A table that can look up a row. It is stored, or derived from one that is.
pub(crate) trait Rows<K, V>: Send + Sync + 'static {
    /// Returns the row and its timestamp. The null key has no row.
    fn get(&self, key: &K, cx: &mut TaskContext) -> Result<Option<(V, Timestamp)>, Failure>;
}

/// The rows of a stored table.
pub(crate) struct StoredRows<K, V> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: TableIndex,
}

impl<K: 'static, V: 'static> Rows<K, V> for StoredRows<K, V> {
    fn get(&self, key: &K, cx: &mut TaskContext) -> Result<Option<(V, Timestamp)>, Failure> {
        let mut bytes = mem::take(&mut cx.key_buffer);
        bytes.clear();
        let row = self.find(key, &mut bytes, cx);
        cx.key_buffer = bytes;
        row
    }
}

impl<K: 'static, V: 'static> StoredRows<K, V> {
    fn find(
        &self,
        key: &K,
        bytes: &mut Vec<u8>,
        cx: &mut TaskContext,
    ) -> Result<Option<(V, Timestamp)>, Failure> {
        if !key_bytes(&self.table.name, &*self.table.key, key, bytes)? {
            return Ok(None);
        }
        let row = cx.tables.get(self.index, bytes)?;
        row.map(|(timestamp, value)| Ok((read(&self.table, bytes, value)?, timestamp))).transpose()
    }
}

/// The windows of a windowed table.
pub(crate) struct WindowRows<K, V, W> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: TableIndex,
    pub(crate) windows: W,
}

impl<K: 'static, V: 'static, W: Windows> Rows<Windowed<K>, V> for WindowRows<K, V, W> {
    fn get(
        &self,
        key: &Windowed<K>,
        cx: &mut TaskContext,
    ) -> Result<Option<(V, Timestamp)>, Failure> {
        let mut bytes = Vec::new();
        let mut is_null = false;
        let window = Window { start: key.start, end: key.end };
        self.windows.naming().write(window, &mut bytes, |out| {
            is_null = !key_bytes(&self.table.name, &*self.table.key, &key.key, out)?;
            Ok::<(), Failure>(())
        })?;
        if is_null {
            return Ok(None);
        }
        let Table { name, value: codec, .. } = &self.table;
        let row = cx.tables.get(self.index, &bytes)?;
        row.map(|(timestamp, value)| {
            let shown = || {
                let (_, key) = self.windows.naming().read(&self.windows, &bytes);
                read_back::shown_in_window(key, window)
            };
            Ok((read_back::value(name, &**codec, value, shown)?, timestamp))
        })
        .transpose()
    }
}

/// The rows of another table, converted by a function.
pub(crate) struct MappedRows<K, V, F> {
    pub(crate) rows: Arc<dyn Rows<K, V>>,
    pub(crate) map: F,
}

impl<K: 'static, V: 'static, V2: 'static, F> Rows<K, V2> for MappedRows<K, V, F>
where
    F: Fn(&K, V) -> Option<V2> + Send + Sync + 'static,
{
    fn get(&self, key: &K, cx: &mut TaskContext) -> Result<Option<(V2, Timestamp)>, Failure> {
        let row = self.rows.get(key, cx)?;
        Ok(row.and_then(|(value, timestamp)| Some(((self.map)(key, value)?, timestamp))))
    }
}
