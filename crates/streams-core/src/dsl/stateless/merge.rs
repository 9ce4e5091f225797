//! Merge: two streams become one.

use crate::chain::Chain;
use crate::dsl::Stream;
use crate::receive::Port;
use crate::topology::NodeKind;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Merges two streams. Each keeps its own order; there is no order between them.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// let refunds = Topic::<String, i64>::new("refunds");
    /// app.stream(&numbers).merge(app.stream(&refunds).map_values(|n| -n)).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 20)?;
    /// test.send(&refunds, "b".into(), 7)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 20), ("b".to_owned(), -7)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge<C2: Chain<Key = K, Value = V>>(
        self,
        other: Stream<'b, K, V, C2>,
    ) -> Stream<'b, K, V, Port<K, V>> {
        let builder = self.builder;
        let parents = [self.node, other.node];
        let kind = NodeKind::Operator("merge");
        let node = builder.graph(|graph| graph.add_node(kind, &parents));
        let port = Port::new();
        let key_changed = self.key_changed || other.key_changed;
        self.chain.connect(port.clone(), builder);
        other.chain.connect(port.clone(), builder);
        Stream { key_changed, ..Stream::new(builder, port, node) }
    }
}
