//! Flat map: one record in, any number of records out.

use crate::error::Failure;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Replaces a record with any number of records, which keep its timestamp.
pub(crate) struct FlatMap<F>(pub(crate) F);

impl<K: 'static, V: 'static, K2: 'static, V2: 'static, I, F> Operator<K, V> for FlatMap<F>
where
    I: IntoIterator<Item = (K2, V2)>,
    F: Fn(K, V) -> Result<I, Failure> + Send + Sync + 'static,
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
        let timestamp = record.timestamp;
        for (key, value) in self.0(record.key, record.value)? {
            next.receive(Record { key, value, timestamp }, cx)?;
        }
        Ok(())
    }
}

/// Replaces a value with any number of values with the same key.
pub(crate) struct FlatMapValues<F>(pub(crate) F);

impl<K: Clone + 'static, V: 'static, V2: 'static, I, F> Operator<K, V> for FlatMapValues<F>
where
    I: IntoIterator<Item = V2>,
    F: Fn(&K, V) -> Result<I, Failure> + Send + Sync + 'static,
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
        for value in self.0(&record.key, record.value)? {
            let key = record.key.clone();
            next.receive(Record { key, value, timestamp: record.timestamp }, cx)?;
        }
        Ok(())
    }
}
