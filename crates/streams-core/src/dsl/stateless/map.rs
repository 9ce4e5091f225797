//! Map: one record in, one record out.

use super::tried;
use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::{BoxError, Failure};
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Replaces key and value. The key may change, so a grouping after it needs
    /// [`group_by`](Stream::group_by).
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).map(|key, n| (format!("{key}-doubled"), n * 2)).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a-doubled".to_owned(), 8)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<K2: 'static, V2: 'static>(
        self,
        map: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> Stream<'b, K2, V2, impl Chain<Key = K2, Value = V2>> {
        self.then("map", Map(of_both(map))).rekeyed()
    }

    /// Replaces the key. A grouping after it needs [`group_by`](Stream::group_by).
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).select_key(|_, n| format!("{n}")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("4".to_owned(), 4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select_key<K2: 'static>(
        self,
        select: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> Stream<'b, K2, V, impl Chain<Key = K2, Value = V>> {
        self.then("select_key", Map(selects(select))).rekeyed()
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
        self.then(name, Map(tries_both(name, map))).rekeyed()
    }
}

/// A function of key and value.
pub(super) fn of_both<K, V, T>(
    map: impl Fn(K, V) -> T + Send + Sync + 'static,
) -> impl Fn(K, V) -> Result<T, Failure> + Send + Sync + 'static {
    move |key, value| Ok(map(key, value))
}

/// A function that selects a new key.
fn selects<K, V, K2>(
    select: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
) -> impl Fn(K, V) -> Result<(K2, V), Failure> + Send + Sync + 'static {
    move |key, value| {
        let key = select(&key, &value);
        Ok((key, value))
    }
}

/// A function of key and value that may fail.
pub(super) fn tries_both<K, V, T, E: Into<BoxError>>(
    operator: &'static str,
    map: impl Fn(K, V) -> Result<T, E> + Send + Sync + 'static,
) -> impl Fn(K, V) -> Result<T, Failure> + Send + Sync + 'static {
    move |key, value| tried(operator, map(key, value))
}

/// Replaces key and value.
struct Map<F>(F);

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
