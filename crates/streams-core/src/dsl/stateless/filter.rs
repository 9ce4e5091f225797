//! Filter: forwards the records that pass.

use super::tried;
use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::{BoxError, Failure};
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Forwards the records for which `predicate` is true.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).filter(|_, n| *n >= 10).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 9)?;
    /// test.send(&numbers, "b".into(), 10)?;
    /// assert_eq!(test.take(&out)?, [("b".to_owned(), 10)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(
        self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Stream<'b, K, V, impl Chain<Key = K, Value = V>> {
        self.then("filter", Filter(says(predicate)))
    }

    /// Forwards the records for which `predicate` is false.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).filter_not(|key, _| key.starts_with("test-")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "test-1".into(), 1)?;
    /// test.send(&numbers, "order-1".into(), 2)?;
    /// assert_eq!(test.take(&out)?, [("order-1".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter_not(
        self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Stream<'b, K, V, impl Chain<Key = K, Value = V>> {
        self.then("filter_not", Filter(says_not(predicate)))
    }

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
        self.then(name, Filter(tries(name, predicate)))
    }
}

/// A predicate.
pub(super) fn says<K, V>(
    predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
) -> impl Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static {
    move |key, value| Ok(predicate(key, value))
}

/// The negation of a predicate.
fn says_not<K, V>(
    predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
) -> impl Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static {
    move |key, value| Ok(!predicate(key, value))
}

/// A predicate that may fail.
fn tries<K, V, E: Into<BoxError>>(
    operator: &'static str,
    predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
) -> impl Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static {
    move |key, value| tried(operator, predicate(key, value))
}

/// Forwards the records for which the predicate is true.
struct Filter<F>(F);

impl<K: 'static, V: 'static, F> Operator<K, V> for Filter<F>
where
    F: Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static,
{
    type Key = K;
    type Value = V;

    #[inline]
    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K, V>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        if self.0(&record.key, &record.value)? { next.receive(record, cx) } else { Ok(()) }
    }
}
