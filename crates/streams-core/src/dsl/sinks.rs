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
    /// it. The partition follows from the key's bytes as with the Java client; records without
    /// key are spread.
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

    /// Sends each record to the topic that `choose` names for it; `like` gives the codecs and is
    /// not written to unless chosen. A topic that does not exist stops the application with an
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
