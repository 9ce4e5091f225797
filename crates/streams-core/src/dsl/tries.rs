//! The `try_` forms: functions that may fail. An error is handled by the source's error policy, as
//! an undecodable record is.

use std::sync::Arc;

use super::Stream;
use crate::chain::Chain;
use crate::error::{BoxError, Cause, Failure};
use crate::operators::{Filter, FlatMap, FlatMapValues, Map, MapValues};

/// What a function returned, or the failure of its operator.
fn tried<T, E: Into<BoxError>>(operator: &'static str, result: Result<T, E>) -> Result<T, Failure> {
    result
        .map_err(|error| Cause::User { operator: Arc::from(operator), source: error.into() }.into())
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// [`filter`](Stream::filter) with a predicate that may fail.
    pub fn try_filter<E: Into<BoxError> + 'static>(
        self,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Stream<'b, K, V, impl Chain<Key = K, Value = V>> {
        let filter = move |key: &K, value: &V| tried("try_filter", predicate(key, value));
        self.then("try_filter", Filter(filter))
    }

    /// [`map`](Stream::map) with a function that may fail.
    pub fn try_map<K2: 'static, V2: 'static, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(K, V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> Stream<'b, K2, V2, impl Chain<Key = K2, Value = V2>> {
        self.then("try_map", Map(move |key, value| tried("try_map", map(key, value)))).rekeyed()
    }

    /// [`map_values`](Stream::map_values) with a function that may fail.
    pub fn try_map_values<V2: 'static, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>> {
        let map = move |_: &K, value| tried("try_map_values", map(value));
        self.then("try_map_values", MapValues(map))
    }

    /// [`flat_map`](Stream::flat_map) with a function that may fail.
    pub fn try_flat_map<K2: 'static, V2: 'static, I, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> Stream<'b, K2, V2, impl Chain<Key = K2, Value = V2>>
    where
        I: IntoIterator<Item = (K2, V2)> + 'static,
    {
        let map = move |key, value| tried("try_flat_map", map(key, value));
        self.then("try_flat_map", FlatMap(map)).rekeyed()
    }

    /// [`flat_map_values`](Stream::flat_map_values) with a function that may fail.
    pub fn try_flat_map_values<V2: 'static, I, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(V) -> Result<I, E> + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>>
    where
        K: Clone,
        I: IntoIterator<Item = V2> + 'static,
    {
        let map = move |_: &K, value| tried("try_flat_map_values", map(value));
        self.then("try_flat_map_values", FlatMapValues(map))
    }
}
