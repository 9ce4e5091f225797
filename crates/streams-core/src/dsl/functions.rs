//! Wrappers that make operators' functions of the user's closures.
//!
//! They are free functions because a closure's type contains the type parameters of the function
//! around it. A closure made inside a method of [`Stream`](super::Stream) would contain the chain
//! so far, and the new chain contains that beside it. A chain of n operators would become a type of
//! 2^n parts, and so would its symbol names.

use std::sync::Arc;

use crate::error::{BoxError, Cause, Failure};
use crate::global::GlobalTable;
use crate::operators::Rows;
use crate::task_context::TaskContext;

type Outcome<T> = Result<T, Failure>;

/// A predicate.
pub(super) fn says<K, V>(
    predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
) -> impl Fn(&K, &V) -> Outcome<bool> + Send + Sync + 'static {
    move |key, value| Ok(predicate(key, value))
}

/// The negation of a predicate.
pub(super) fn says_not<K, V>(
    predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
) -> impl Fn(&K, &V) -> Outcome<bool> + Send + Sync + 'static {
    move |key, value| Ok(!predicate(key, value))
}

/// A function of key and value.
pub(super) fn of_both<K, V, T>(
    map: impl Fn(K, V) -> T + Send + Sync + 'static,
) -> impl Fn(K, V) -> Outcome<T> + Send + Sync + 'static {
    move |key, value| Ok(map(key, value))
}

/// A function of the value.
pub(super) fn of_value<K, V, T>(
    map: impl Fn(V) -> T + Send + Sync + 'static,
) -> impl Fn(&K, V) -> Outcome<T> + Send + Sync + 'static {
    move |_, value| Ok(map(value))
}

/// A function of the value that also sees the key.
pub(super) fn of_value_with_key<K, V, T>(
    map: impl Fn(&K, V) -> T + Send + Sync + 'static,
) -> impl Fn(&K, V) -> Outcome<T> + Send + Sync + 'static {
    move |key, value| Ok(map(key, value))
}

/// A function that selects a new key.
pub(super) fn selects<K, V, K2>(
    select: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
) -> impl Fn(K, V) -> Outcome<(K2, V)> + Send + Sync + 'static {
    move |key, value| {
        let key = select(&key, &value);
        Ok((key, value))
    }
}

fn tried<T, E: Into<BoxError>>(operator: &'static str, result: Result<T, E>) -> Outcome<T> {
    result
        .map_err(|error| Cause::User { operator: Arc::from(operator), source: error.into() }.into())
}

/// A predicate that may fail.
pub(super) fn tries<K, V, E: Into<BoxError>>(
    operator: &'static str,
    predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
) -> impl Fn(&K, &V) -> Outcome<bool> + Send + Sync + 'static {
    move |key, value| tried(operator, predicate(key, value))
}

/// A function of key and value that may fail.
pub(super) fn tries_both<K, V, T, E: Into<BoxError>>(
    operator: &'static str,
    map: impl Fn(K, V) -> Result<T, E> + Send + Sync + 'static,
) -> impl Fn(K, V) -> Outcome<T> + Send + Sync + 'static {
    move |key, value| tried(operator, map(key, value))
}

/// A function of the value that may fail.
pub(super) fn tries_value<K, V, T, E: Into<BoxError>>(
    operator: &'static str,
    map: impl Fn(V) -> Result<T, E> + Send + Sync + 'static,
) -> impl Fn(&K, V) -> Outcome<T> + Send + Sync + 'static {
    move |_, value| tried(operator, map(value))
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
) -> impl Fn(&K, &V, &mut TaskContext) -> Outcome<Option<T>> + Send + Sync + 'static {
    move |key, _, cx| Ok(rows.get(key, cx)?.map(|(row, _)| row))
}

/// The row of a global table under the key that `key` selects.
pub(super) fn global_row<K, V, G: 'static, T: 'static>(
    table: GlobalTable<G, T>,
    key: impl Fn(&K, &V) -> G + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut TaskContext) -> Outcome<Option<T>> + Send + Sync + 'static {
    move |own, value, cx| table.get(&key(own, value), &*cx.globals)
}
