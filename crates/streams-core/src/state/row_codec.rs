//! Converts rows of a table between types and bytes.

use std::sync::Arc;

use super::read_back;
use crate::codec::Codec;
use crate::error::{Cause, Failure};
use crate::table::Table;

/// Appends a table key's bytes. Null is an error.
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

/// Writes a table key's bytes. Returns whether there is a key: no table has the null key.
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
    read_back::key(&table.name, &*table.key, bytes)
}

/// Reads the value of a key back from its table.
pub(crate) fn read<K: 'static, A: 'static>(
    table: &Table<K, A>,
    key: &[u8],
    bytes: &[u8],
) -> Result<A, Failure> {
    read_back::value(&table.name, &*table.value, bytes, || read_back::shown(key))
}
