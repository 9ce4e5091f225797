//! Join of a stream with a table: each record looks up a row.

use std::marker::PhantomData;

use crate::error::Failure;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Joins each record with the row that `row` finds for it. If `joiner` returns nothing, the record
/// is dropped.
pub(crate) struct LookUp<T, R, F> {
    pub(crate) row: R,
    pub(crate) joiner: F,
    pub(crate) of: PhantomData<fn() -> T>,
}

impl<K: 'static, V: 'static, T: 'static, O: 'static, R, F> Operator<K, V> for LookUp<T, R, F>
where
    R: Fn(&K, &V, &mut TaskContext) -> Result<Option<T>, Failure> + Send + Sync + 'static,
    F: Fn(&K, &V, Option<&T>) -> Option<O> + Send + Sync + 'static,
{
    type Key = K;
    type Value = O;

    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K, O>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp } = record;
        let row = (self.row)(&key, &value, cx)?;
        match (self.joiner)(&key, &value, row.as_ref()) {
            Some(value) => next.receive(Record { key, value, timestamp }, cx),
            None => Ok(()),
        }
    }
}
