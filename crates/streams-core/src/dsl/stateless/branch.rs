//! Branch: records go one of two ways.

use super::filter::says;
use crate::chain::Chain;
use crate::dsl::Stream;
use crate::error::Failure;
use crate::receive::{Port, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Splits the stream in two: the records for which `predicate` is true, and the rest. For more
    /// branches, branch the rest. Records of an unused branch are dropped.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// let (large, small) = app.stream(&numbers).branch(|_, n| *n >= 10);
    /// large.map_values(|n| n / 10).to(&out);
    /// small.to(&Topic::new("small"));
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 20)?;
    /// test.send(&numbers, "b".into(), 7)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 2)]);
    /// assert_eq!(test.take(&Topic::new("small"))?, [("b".to_owned(), 7_i64)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn branch(
        self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> (Stream<'b, K, V, Port<K, V>>, Stream<'b, K, V, Port<K, V>>) {
        let node = self.add_node("branch");
        let matching = Port::new();
        let rest = Port::new();
        let builder = self.builder;
        let key_changed = self.key_changed;
        let predicate = says(predicate);
        let branch = Branch { predicate, matching: matching.clone(), rest: rest.clone() };
        self.chain.connect(branch, builder);
        let stream = |port| Stream { key_changed, ..Stream::new(builder, port, node) };
        (stream(matching), stream(rest))
    }
}

/// Forwards a record to one of two streams.
struct Branch<K, V, F> {
    predicate: F,
    matching: Port<K, V>,
    rest: Port<K, V>,
}

impl<K: 'static, V: 'static, F> Receive<K, V> for Branch<K, V, F>
where
    F: Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let matches = (self.predicate)(&record.key, &record.value)?;
        if matches { self.matching.receive(record, cx) } else { self.rest.receive(record, cx) }
    }
}
