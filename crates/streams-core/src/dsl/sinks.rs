//! Where streams end: topics.

use std::sync::Arc;

use super::Stream;
use crate::builder::Types;
use crate::chain::Chain;
use crate::operators::{Sink, SinkBy};
use crate::topic::Topic;
use crate::topology::NodeKind;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Sends every record to `topic`, with its timestamp and the headers of the record that caused
    /// it. The key's bytes select the partition as in the Java client; records without a key are
    /// spread over all partitions.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to(self, topic: &Topic<K, V>) {
        let kind = NodeKind::Sink(Arc::clone(&topic.name));
        self.builder.graph(|graph| {
            graph.check_name("the topic", &topic.name);
            graph.use_topic(&topic.name, "the stream that is sent", Types::of_topic(topic));
            graph.add_node(kind, &[self.node])
        });
        self.chain.connect(Sink { topic: topic.clone(), needs_key: false }, self.builder);
    }

    /// Sends each record to the topic that `choose` returns. `like` provides the codecs; records go
    /// to it only if `choose` returns it. If a topic does not exist, the application stops with an
    /// error that names it.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers)
    ///     .to_by(&out, |_, n| if *n < 0 { "negative".into() } else { "out".into() });
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// test.send(&numbers, "b".into(), -4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4)]);
    /// assert_eq!(test.take(&Topic::new("negative"))?, [("b".to_owned(), -4_i64)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_by(
        self,
        like: &Topic<K, V>,
        choose: impl Fn(&K, &V) -> Arc<str> + Send + Sync + 'static,
    ) {
        self.builder.graph(|graph| graph.add_node(NodeKind::DynamicSink, &[self.node]));
        let key = Arc::clone(&like.key);
        let value = Arc::clone(&like.value);
        self.chain.connect(SinkBy { choose, key, value }, self.builder);
    }
}
