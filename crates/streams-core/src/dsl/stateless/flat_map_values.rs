//! Flat map of values: one value in, any number of values out, with the same key.

use super::map_values::{of_value, tries_value};
use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::{BoxError, Failure};
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Replaces each value with any number of values for the same key.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).flat_map_values(|n| 1..=n).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 2)?;
    /// test.send(&numbers, "none".into(), 0)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flat_map_values<V2: 'static, I>(
        self,
        map: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>>
    where
        K: Clone,
        I: IntoIterator<Item = V2> + 'static,
    {
        self.then("flat_map_values", FlatMapValues(of_value(map)))
    }

    /// [`flat_map_values`](Stream::flat_map_values) with a function that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, String>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.on_error(ErrorPolicy::Skip);
    /// let parse_all =
    ///     |text: String| text.split(' ').map(str::parse).collect::<Result<Vec<_>, _>>();
    /// app.stream(&numbers).try_flat_map_values(parse_all).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), "1 2".into())?;
    /// test.send(&numbers, "b".into(), "3 four".into())?;
    /// // The record fails as a whole: nothing is left of the 3.
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    /// assert_eq!(test.failed().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_flat_map_values<V2: 'static, I, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(V) -> Result<I, E> + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>>
    where
        K: Clone,
        I: IntoIterator<Item = V2> + 'static,
    {
        let name = "try_flat_map_values";
        self.then(name, FlatMapValues(tries_value(name, map)))
    }
}

/// Replaces a value with any number of values with the same key.
struct FlatMapValues<F>(F);

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
