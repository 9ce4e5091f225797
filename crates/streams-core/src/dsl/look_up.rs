//! Join of a stream with a table: each record looks up a row.
//!
//! Like those of the stateless operators, the wrappers around the user's functions are free
//! functions.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::Failure;
use crate::global::GlobalTable;
use crate::operators::Rows;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Joins each record with the row that `row` finds for it. If `joiner` returns nothing, the record
/// is dropped.
pub(super) struct LookUp<T, R, F> {
    pub(super) row: R,
    pub(super) joiner: F,
    pub(super) of: PhantomData<fn() -> T>,
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

/// A joiner for records that have a row.
pub(super) fn joins<K, V, T, O>(
    joiner: impl Fn(&K, &V, &T) -> O + Send + Sync + 'static,
) -> impl Fn(&K, &V, Option<&T>) -> Option<O> + Send + Sync + 'static {
    move |key, value, row| Some(joiner(key, value, row?))
}

/// A joiner for all records.
pub(super) fn left_joins<K, V, T, O>(
    joiner: impl Fn(&K, &V, Option<&T>) -> O + Send + Sync + 'static,
) -> impl Fn(&K, &V, Option<&T>) -> Option<O> + Send + Sync + 'static {
    move |key, value, row| Some(joiner(key, value, row))
}

/// The row of a record's own key.
pub(super) fn own_row<K: 'static, V, T: 'static>(
    rows: Arc<dyn Rows<K, T>>,
) -> impl Fn(&K, &V, &mut TaskContext) -> Result<Option<T>, Failure> + Send + Sync + 'static {
    move |key, _, cx| Ok(rows.get(key, cx)?.map(|(row, _)| row))
}

/// The row of a global table under the key that `key` selects.
pub(super) fn global_row<K, V, G: 'static, T: 'static>(
    table: GlobalTable<G, T>,
    key: impl Fn(&K, &V) -> G + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut TaskContext) -> Result<Option<T>, Failure> + Send + Sync + 'static {
    move |own, value, cx| table.get(&key(own, value), &*cx.globals)
}
