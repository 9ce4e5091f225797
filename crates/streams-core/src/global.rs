//! Global tables: every instance has all rows, of all partitions.

use std::sync::Arc;

use crate::codec::Codec;
use crate::error::{Cause, Failure, RecordError};
use crate::policy::ErrorPolicy;
use crate::record::RawRecord;
use crate::state::read_back;
use crate::store::StoreError;
use crate::stored_format::StoredFormat;
use crate::table::Table;
use crate::topic::Topic;

/// A topic of which every instance has all rows.
/// [`Builder::global_table`](crate::Builder::global_table) creates it and
/// [`Stream::join_global`](crate::Stream::join_global) uses it. Cheap to clone.
pub struct GlobalTable<K, V> {
    pub(crate) table: Table<K, V>,
    pub(crate) index: usize,
}

impl<K, V> Clone for GlobalTable<K, V> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone(), index: self.index }
    }
}

/// The rows of all global tables of an instance, as its tasks read them.
pub trait Globals: Send + Sync {
    /// Copies the value of `key` in global table number `table` into `value`, which is cleared
    /// first. Returns whether there is one.
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError>;
}

/// For tasks of topologies without global tables.
pub(crate) struct NoGlobals;

impl Globals for NoGlobals {
    fn get(&self, _: usize, _: &[u8], _: &mut Vec<u8>) -> Result<bool, StoreError> {
        let cause = "the instance has no global tables".to_owned();
        Err(StoreError::Io { task: "global".to_owned(), cause })
    }
}

/// A topic that every instance reads completely.
pub struct GlobalSource {
    pub(crate) topic: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) policy: ErrorPolicy,
    pub(crate) rows: Box<dyn DecodeRow>,
    pub(crate) terms: StoredFormat,
}

impl GlobalSource {
    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The table's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What happens to records that cannot become rows: [`ErrorPolicy::Fail`] or
    /// [`ErrorPolicy::Skip`].
    pub fn policy(&self) -> &ErrorPolicy {
        &self.policy
    }

    /// Returns the row that a record of the topic sets, or deletes if the value is `None`.
    pub fn row(&self, partition: i32, record: &RawRecord<'_>) -> Result<Row, RecordError> {
        self.rows.row(record).map_err(|cause| RecordError {
            topic: Arc::clone(&self.topic),
            partition,
            offset: record.offset,
            cause,
        })
    }
}

/// The key and value of a row, in bytes.
pub type Row = (Box<[u8]>, Option<Box<[u8]>>);

/// Converts the bytes of a topic to those of a table.
pub(crate) trait DecodeRow: Send + Sync {
    fn row(&self, record: &RawRecord<'_>) -> Result<Row, Cause>;
}

pub(crate) struct TypedRows<K, V> {
    pub(crate) topic: Topic<K, Option<V>>,
    pub(crate) table: Table<K, V>,
}

impl<K: 'static, V: 'static> DecodeRow for TypedRows<K, V> {
    fn row(&self, record: &RawRecord<'_>) -> Result<Row, Cause> {
        let failed = |source| Cause::Encode { target: Arc::clone(&self.table.name), source };
        let key = self.topic.key.decode(record.key).map_err(Cause::DecodeKey)?;
        let value = self.topic.value.decode(record.value).map_err(Cause::DecodeValue)?;
        let mut key_bytes = Vec::new();
        let mut value_bytes = Vec::new();
        if !self.table.key.encode(&key, &mut key_bytes).map_err(failed)? {
            return Err(Cause::NullKey { target: Arc::clone(&self.table.name) });
        }
        let is_there = match &value {
            Some(value) => self.table.value.encode(value, &mut value_bytes).map_err(failed)?,
            None => false,
        };
        Ok((key_bytes.into(), is_there.then(|| value_bytes.into())))
    }
}

impl<K: 'static, V: 'static> GlobalTable<K, V> {
    /// Returns the row of `key`; the null key has none.
    pub(crate) fn get(&self, key: &K, globals: &dyn Globals) -> Result<Option<V>, Failure> {
        let failed =
            |source| Failure::new(Cause::Encode { target: Arc::clone(&self.table.name), source });
        let mut key_bytes = Vec::new();
        let mut value = Vec::new();
        if !self.table.key.encode(key, &mut key_bytes).map_err(failed)?
            || !globals.get(self.index, &key_bytes, &mut value)?
        {
            return Ok(None);
        }
        let Table { name, value: codec, .. } = &self.table;
        read_back::value(name, &**codec, &value, || read_back::shown(&key_bytes)).map(Some)
    }
}
