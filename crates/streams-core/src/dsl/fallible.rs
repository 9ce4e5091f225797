//! The `try_` forms: functions that may fail. The source's error policy decides about an error, as
//! it does about an undecodable record.

use super::{Stream, functions};
use crate::chain::Chain;
use crate::error::BoxError;
use crate::operators::{Filter, FlatMap, FlatMapValues, Map, MapValues};

/// Turns what a function returned into a result of its operator.
impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// [`filter`](Stream::filter) with a predicate that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, String>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.on_error(ErrorPolicy::Skip);
    /// app.stream(&numbers)
    ///     .try_filter(|_, text| text.parse::<i64>().map(|n| n >= 10))
    ///     .map_values(|text| text.len() as i64)
    ///     .to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), "100".into())?;
    /// test.send(&numbers, "b".into(), "7".into())?;
    /// test.send(&numbers, "c".into(), "ten".into())?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 3)]);
    /// assert!(test.failed()[0].contains("invalid digit"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_filter<E: Into<BoxError> + 'static>(
        self,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Stream<'b, K, V, impl Chain<Key = K, Value = V>> {
        let name = "try_filter";
        self.then(name, Filter(functions::tries(name, predicate)))
    }

    /// [`map`](Stream::map) with a function that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, String>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.on_error(ErrorPolicy::Skip);
    /// app.stream(&numbers).try_map(|key, text| text.parse::<i64>().map(|n| (key, n))).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), "4".into())?;
    /// test.send(&numbers, "b".into(), "four".into())?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4)]);
    /// assert_eq!(test.failed().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_map<K2: 'static, V2: 'static, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(K, V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> Stream<'b, K2, V2, impl Chain<Key = K2, Value = V2>> {
        let name = "try_map";
        self.then(name, Map(functions::tries_both(name, map))).rekeyed()
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
        self.then(name, MapValues(functions::tries_value(name, map)))
    }

    /// [`flat_map`](Stream::flat_map) with a function that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, String>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.on_error(ErrorPolicy::Skip);
    /// app.stream(&numbers)
    ///     .try_flat_map(|key, text| text.parse::<i64>().map(|n| [(key.clone(), n), (key, -n)]))
    ///     .to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), "4".into())?;
    /// test.send(&numbers, "b".into(), "four".into())?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4), ("a".to_owned(), -4)]);
    /// assert_eq!(test.failed().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_flat_map<K2: 'static, V2: 'static, I, E: Into<BoxError> + 'static>(
        self,
        map: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> Stream<'b, K2, V2, impl Chain<Key = K2, Value = V2>>
    where
        I: IntoIterator<Item = (K2, V2)> + 'static,
    {
        let name = "try_flat_map";
        self.then(name, FlatMap(functions::tries_both(name, map))).rekeyed()
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
        self.then(name, FlatMapValues(functions::tries_value(name, map)))
    }
}
