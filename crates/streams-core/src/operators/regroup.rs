//! Group-by of a table: each change becomes at most two records of its repartition topic.

use std::sync::Arc;

use crate::change::Change;
use crate::codec::{Changed, Codec};
use crate::error::{Cause, Failure};
use crate::receive::Receive;
use crate::record::{Record, Timestamp};
use crate::task_context::TaskContext;

pub(crate) struct Regroup<K2, V2, F> {
    pub(crate) topic: Arc<str>,
    pub(crate) key: Arc<dyn Codec<K2>>,
    pub(crate) value: Arc<dyn Codec<V2>>,
    pub(crate) row: F,
}

/// A group's key and the row's value there, in bytes.
type Row = (Vec<u8>, Vec<u8>);

impl<K, V, K2, V2, F> Receive<K, Change<V>> for Regroup<K2, V2, F>
where
    K: 'static,
    V: 'static,
    K2: 'static,
    V2: 'static,
    F: Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let row = |value: &Option<V>| {
            let row = value.as_ref().map(|value| (self.row)(&record.key, value));
            row.map_or(Ok(None), |(key, value)| self.encode(&key, &value))
        };
        let old = row(&record.value.old)?;
        let new = row(&record.value.new)?;
        let at = record.timestamp;
        match (old, new) {
            (Some((old_key, old)), Some((key, new))) if old_key == key => {
                self.send(&key, Some(&old), Some(&new), at, cx)
            }
            (old, new) => {
                if let Some((key, old)) = old {
                    self.send(&key, Some(&old), None, at, cx)?;
                }
                match new {
                    Some((key, new)) => self.send(&key, None, Some(&new), at, cx),
                    None => Ok(()),
                }
            }
        }
    }
}

impl<K2: 'static, V2: 'static, F> Regroup<K2, V2, F> {
    /// Encodes a row. `None` if the key or the value is null: the row is then in no group.
    fn encode(&self, key: &K2, value: &V2) -> Result<Option<Row>, Failure> {
        let mut key_bytes = Vec::new();
        let mut value_bytes = Vec::new();
        let encoded = self
            .key
            .encode(key, &mut key_bytes)
            .and_then(|has_key| Ok(self.value.encode(value, &mut value_bytes)? && has_key));
        let failed = |source| Cause::Encode { target: Arc::clone(&self.topic), source };
        Ok(encoded.map_err(failed)?.then_some((key_bytes, value_bytes)))
    }

    fn send(
        &self,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        timestamp: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>
    where
        V2: 'static,
    {
        let write = |out: &mut Vec<u8>| Changed::<V2>::write(old, new, out);
        cx.send_bytes(&self.topic, key, write, timestamp)
    }
}
