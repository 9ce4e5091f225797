//! Shared: one stream becomes several.

use crate::chain::Chain;
use crate::dsl::Stream;
use crate::receive::SharedReceiver;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Makes the stream usable more than once: the result can be cloned, and every clone gets every
    /// record. Its type can be written out, so it is also useful for a stream in a struct or as a
    /// return value.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// let positive = app.stream(&numbers).filter(|_, n| *n > 0).shared();
    /// positive.clone().to(&out);
    /// positive.filter(|_, n| *n >= 10).to(&Topic::new("large"));
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 20)?;
    /// test.send(&numbers, "b".into(), 7)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 20), ("b".to_owned(), 7)]);
    /// assert_eq!(test.take(&Topic::new("large"))?, [("a".to_owned(), 20_i64)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shared(self) -> Stream<'b, K, V, SharedReceiver<K, V>>
    where
        K: Clone,
        V: Clone,
    {
        let shared = self.builder.shared_port();
        let builder = self.builder;
        let key_changed = self.key_changed;
        let node = self.node;
        self.chain.connect(shared.clone(), builder);
        Stream { key_changed, ..Stream::new(builder, shared, node) }
    }
}
