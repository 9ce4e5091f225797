//! Flat map: one record in, any number of records out.

use super::map::{of_both, tries_both};
use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::{BoxError, Failure};
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Replaces each record with any number of records. A grouping after it needs
    /// [`group_by`](Stream::group_by).
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).flat_map(|key, n| [(key.clone(), n), (key + "-negated", -n)]).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4), ("a-negated".to_owned(), -4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flat_map<K2: 'static, V2: 'static, I>(
        self,
        map: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> Stream<'b, K2, V2, impl Chain<Key = K2, Value = V2>>
    where
        I: IntoIterator<Item = (K2, V2)> + 'static,
    {
        self.then("flat_map", FlatMap(of_both(map))).rekeyed()
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
        self.then(name, FlatMap(tries_both(name, map))).rekeyed()
    }
}

/// Replaces a record with any number of records, which keep its timestamp.
struct FlatMap<F>(F);

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
