//! Map of values: the key stays, and with it the partition.

use super::tried;
use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::{BoxError, Failure};
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Replaces the value.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).map_values(|n| n + 1).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 5)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_values<V2: 'static>(
        self,
        map: impl Fn(V) -> V2 + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>> {
        self.then("map_values", MapValues(of_value(map)))
    }

    /// [`map_values`](Stream::map_values) with access to the key.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, String>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).map_values_with_key(|key, n| format!("{key}: {n}")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), "a: 4".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_values_with_key<V2: 'static>(
        self,
        map: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>> {
        self.then("map_values", MapValues(of_value_with_key(map)))
    }

    /// [`map_values`](Stream::map_values) with a function that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, String>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.on_error(ErrorPolicy::Skip);
    /// app.stream(&numbers).try_map_values(|text| text.parse::<i64>()).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), "4".into())?;
    /// test.send(&numbers, "b".into(), "four".into())?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4)]);
    /// assert_eq!(test.failed().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_map_values<V2: 'static, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>> {
        let name = "try_map_values";
        self.then(name, MapValues(tries_value(name, map)))
    }
}

/// A function of the value.
pub(super) fn of_value<K, V, T>(
    map: impl Fn(V) -> T + Send + Sync + 'static,
) -> impl Fn(&K, V) -> Result<T, Failure> + Send + Sync + 'static {
    move |_, value| Ok(map(value))
}

/// A function of the value that also sees the key.
fn of_value_with_key<K, V, T>(
    map: impl Fn(&K, V) -> T + Send + Sync + 'static,
) -> impl Fn(&K, V) -> Result<T, Failure> + Send + Sync + 'static {
    move |key, value| Ok(map(key, value))
}

/// A function of the value that may fail.
pub(super) fn tries_value<K, V, T, E: Into<BoxError>>(
    operator: &'static str,
    map: impl Fn(V) -> Result<T, E> + Send + Sync + 'static,
) -> impl Fn(&K, V) -> Result<T, Failure> + Send + Sync + 'static {
    move |_, value| tried(operator, map(value))
}

/// Replaces the value. The key stays, and with it the partition.
pub(in crate::dsl) struct MapValues<F>(pub(in crate::dsl) F);

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
