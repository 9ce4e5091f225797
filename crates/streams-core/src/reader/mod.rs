//! Reading a table's typed rows, a few at a time.
//!
//! A cursor holds neither the tables nor a context: each call receives the source to read from. So
//! the same code serves a processor, which holds the task's tables, and an agent, which has them
//! only while it runs and has its own staged writes in front of them.

mod rows;
mod windows;

use crate::error::Failure;
use crate::state::row_bytes::RowBytes;
use crate::state::row_codec::{read, write_key};
use crate::state::tables::TableIndex;
use crate::table::Table;

pub(crate) use rows::RowCursor;
pub(crate) use windows::{KeptWindows, WindowCell, WindowCursor};

/// Reads the value of `key` in a table.
pub(crate) fn row<K: 'static, V: 'static>(
    table: &Table<K, V>,
    index: TableIndex,
    key: &K,
    source: &mut (impl RowBytes + ?Sized),
) -> Result<Option<V>, Failure> {
    let mut bytes = Vec::new();
    write_key(&table.name, &*table.key, key, &mut bytes)?;
    let found = source.get(index, &bytes)?;
    found.map(|(_, value)| read(table, &bytes, value)).transpose()
}

/// How much of a table is read at a time: the number of entries, and the bytes after which reading
/// stops.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 64 << 10;

/// How full a page is.
#[derive(Default)]
struct Page {
    entries: usize,
    bytes: usize,
}

impl Page {
    /// Counts an entry, and returns whether the page is full with it.
    fn takes_last(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.entries += 1;
        self.bytes += key.len() + value.len();
        self.entries >= PAGE_ENTRIES || self.bytes >= PAGE_BYTES
    }
}

/// The first key after `key`.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
