//! Map: one record in, one record out.

use crate::error::Failure;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Replaces key and value.
pub(crate) struct Map<F>(pub(crate) F);

impl<K: 'static, V: 'static, K2: 'static, V2: 'static, F> Operator<K, V> for Map<F>
where
    F: Fn(K, V) -> Result<(K2, V2), Failure> + Send + Sync + 'static,
{
    type Key = K2;
    type Value = V2;

    #[inline]
    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K2, V2>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let (key, value) = self.0(record.key, record.value)?;
        next.receive(Record { key, value, timestamp: record.timestamp }, cx)
    }
}

/// Replaces the value. The key stays, and with it the partition.
pub(crate) struct MapValues<F>(pub(crate) F);

impl<K: 'static, V: 'static, V2: 'static, F> Operator<K, V> for MapValues<F>
where
    F: Fn(&K, V) -> Result<V2, Failure> + Send + Sync + 'static,
{
    type Key = K;
    type Value = V2;

    #[inline]
    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K, V2>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let value = self.0(&record.key, record.value)?;
        next.receive(Record { key: record.key, value, timestamp: record.timestamp }, cx)
    }
}
