//! Peek: looks at records as they pass.

use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::Failure;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Calls `look` with each record and forwards the record. After a rewind `look` may see a
    /// record again: use it for logs and metrics, not for side effects.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).peek(|key, n| println!("{key}: {n}")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek(
        self,
        look: impl Fn(&K, &V) + Send + Sync + 'static,
    ) -> Stream<'b, K, V, impl Chain<Key = K, Value = V>> {
        self.then("peek", Peek(look))
    }
}

/// Calls a function with each record and forwards the record.
struct Peek<F>(F);

impl<K: 'static, V: 'static, F> Operator<K, V> for Peek<F>
where
    F: Fn(&K, &V) + Send + Sync + 'static,
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
        self.0(&record.key, &record.value);
        next.receive(record, cx)
    }
}
