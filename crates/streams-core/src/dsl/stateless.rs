//! Operators that look at one record at a time.

use super::{Stream, functions};
use crate::chain::Chain;
use crate::operators::{Branch, Filter, FlatMap, FlatMapValues, Map, MapValues, Peek};
use crate::receive::{Port, SharedReceiver};

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
        self.then("filter", Filter(functions::says(predicate)))
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
        self.then("filter_not", Filter(functions::says_not(predicate)))
    }

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
        self.then("map", Map(functions::of_both(map))).rekeyed()
    }

    /// Replaces the value.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).map_values(|n| n + 1).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 5)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_values<V2: 'static>(
        self,
        map: impl Fn(V) -> V2 + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>> {
        self.then("map_values", MapValues(functions::of_value(map)))
    }

    /// [`map_values`](Stream::map_values) with access to the key.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, String>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).map_values_with_key(|key, n| format!("{key}: {n}")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), "a: 4".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_values_with_key<V2: 'static>(
        self,
        map: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>> {
        self.then("map_values", MapValues(functions::of_value_with_key(map)))
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
        self.then("select_key", Map(functions::selects(select))).rekeyed()
    }

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
        self.then("flat_map", FlatMap(functions::of_both(map))).rekeyed()
    }

    /// Replaces each value with any number of values for the same key.
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).flat_map_values(|n| 1..=n).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 2)?;
    /// test.send(&numbers, "none".into(), 0)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flat_map_values<V2: 'static, I>(
        self,
        map: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Stream<'b, K, V2, impl Chain<Key = K, Value = V2>>
    where
        K: Clone,
        I: IntoIterator<Item = V2> + 'static,
    {
        self.then("flat_map_values", FlatMapValues(functions::of_value(map)))
    }

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
        let predicate = functions::says(predicate);
        let branch = Branch { predicate, matching: matching.clone(), rest: rest.clone() };
        self.chain.connect(branch, builder);
        let stream = |port| Stream { key_changed, ..Stream::new(builder, port, node) };
        (stream(matching), stream(rest))
    }

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
        let kind = crate::topology::NodeKind::Operator("merge");
        let node = builder.graph(|graph| graph.add_node(kind, &parents));
        let port = Port::new();
        let key_changed = self.key_changed || other.key_changed;
        self.chain.connect(port.clone(), builder);
        other.chain.connect(port.clone(), builder);
        Stream { key_changed, ..Stream::new(builder, port, node) }
    }

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
