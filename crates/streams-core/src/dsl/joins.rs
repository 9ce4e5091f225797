//! Joins of a stream with a stream or a table.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Stream, TableStream, look_up};
use crate::builder::{Graph, Types};
use crate::chain::{Chain, Then};
use crate::codec::{Codec, Json, JsonValue, NaturalKey};
use crate::operators::stream_join::{JoinSide, JoinTable, LeftSide, RightSide, StreamJoin};
use crate::operators::{Sides, stream_join};
use crate::receive::Port;
use crate::topology::NodeKind;
use crate::window::JoinWindows;

/// Where the records of a stream-stream join wait for their partners: a name, and codecs for the
/// keys and for the values of both sides. They are stored in the tables `{name}-left` and
/// `{name}-right` and, for left and outer joins, `{name}-unmatched`, each with a changelog.
pub struct JoinBuffers<K, V, W> {
    name: Arc<str>,
    key: Arc<dyn Codec<K>>,
    left: Arc<dyn Codec<V>>,
    right: Arc<dyn Codec<W>>,
}

impl<K: 'static, V: 'static, W: 'static> JoinBuffers<K, V, W> {
    /// Creates buffers with natural keys and JSON values.
    pub fn json(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: JsonValue,
        W: JsonValue,
    {
        Self { name: name.into(), key: K::codec(), left: Arc::new(Json), right: Arc::new(Json) }
    }

    /// Creates buffers with codecs of your choice. A record whose key or value encodes to null has
    /// no match.
    pub fn with(
        name: impl Into<Arc<str>>,
        key: impl Codec<K>,
        left: impl Codec<V>,
        right: impl Codec<W>,
    ) -> Self {
        let key = Arc::new(key);
        let left = Arc::new(left);
        let right = Arc::new(right);
        Self { name: name.into(), key, left, right }
    }
}

impl<'b, K: Clone + 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Joins each record with the records of `other` that have the same key and a timestamp in its
    /// `windows`. The result has the later of the two timestamps. Both streams must have the same
    /// partitioning.
    ///
    /// ```
    /// use headwater::{Builder, Record, Topic};
    /// use headwater::joins::{JoinBuffers, JoinWindows};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let ordered = Topic::<u64, String>::new("ordered");
    /// let paid = Topic::<u64, i64>::new("paid");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let within = JoinWindows::within(Duration::from_secs(60));
    /// let joined = app.stream(&ordered).join(
    ///     app.stream(&paid),
    ///     within,
    ///     &JoinBuffers::json("payments"),
    ///     |_, order, paid| format!("{order}: {paid} paid"),
    /// );
    /// joined.to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&ordered, Record::new(7, "tea".into(), 10_000))?;
    /// test.send_record(&paid, Record::new(7, 3, 50_000))?;
    /// assert_eq!(test.take(&out)?, [(7, "tea: 3 paid".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join<W: 'static, O: 'static, D: Chain<Key = K, Value = W>>(
        self,
        other: Stream<'b, K, W, D>,
        windows: JoinWindows,
        buffers: &JoinBuffers<K, V, W>,
        joiner: impl Fn(&K, &V, &W) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, Port<K, O>> {
        let joiner =
            move |key: &K, left: Option<&V>, right: Option<&W>| Some(joiner(key, left?, right?));
        self.join_streams("join", other, windows, buffers, Sides::Inner, joiner)
    }

    /// [`join`](Stream::join) that also forwards each unmatched record, without a partner, when
    /// stream time passes its window and grace; a record that arrives after that is forwarded at
    /// once. So is a record without a key.
    ///
    /// ```
    /// use headwater::{Builder, Record, Topic};
    /// use headwater::joins::{JoinBuffers, JoinWindows};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let ordered = Topic::<u64, String>::new("ordered");
    /// let paid = Topic::<u64, i64>::new("paid");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let joined = app.stream(&ordered).left_join(
    ///     app.stream(&paid),
    ///     JoinWindows::within(Duration::from_secs(60)),
    ///     &JoinBuffers::json("payments"),
    ///     |_, order, paid| format!("{order}: {paid:?}"),
    /// );
    /// joined.to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&ordered, Record::new(7, "tea".into(), 10_000))?;
    /// test.send_record(&paid, Record::new(8, 3, 70_001))?;
    /// assert_eq!(test.take(&out)?, [(7, "tea: None".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join<W: 'static, O: 'static, D: Chain<Key = K, Value = W>>(
        self,
        other: Stream<'b, K, W, D>,
        windows: JoinWindows,
        buffers: &JoinBuffers<K, V, W>,
        joiner: impl Fn(&K, &V, Option<&W>) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, Port<K, O>> {
        let joiner =
            move |key: &K, left: Option<&V>, right: Option<&W>| Some(joiner(key, left?, right));
        self.join_streams("left_join", other, windows, buffers, Sides::Left, joiner)
    }

    /// [`left_join`](Stream::left_join) for both sides.
    ///
    /// ```
    /// use headwater::{Builder, Record, Topic};
    /// use headwater::joins::{JoinBuffers, JoinWindows};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let ordered = Topic::<u64, String>::new("ordered");
    /// let paid = Topic::<u64, i64>::new("paid");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let joined = app.stream(&ordered).outer_join(
    ///     app.stream(&paid),
    ///     JoinWindows::within(Duration::from_secs(60)),
    ///     &JoinBuffers::json("payments"),
    ///     |_, order, paid| format!("{order:?}, {paid:?}"),
    /// );
    /// joined.to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&paid, Record::new(7, 3, 10_000))?;
    /// test.send_record(&paid, Record::new(8, 4, 70_001))?;
    /// assert_eq!(test.take(&out)?, [(7, "None, Some(3)".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn outer_join<W: 'static, O: 'static, D: Chain<Key = K, Value = W>>(
        self,
        other: Stream<'b, K, W, D>,
        windows: JoinWindows,
        buffers: &JoinBuffers<K, V, W>,
        joiner: impl Fn(&K, Option<&V>, Option<&W>) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, Port<K, O>> {
        let joiner =
            move |key: &K, left: Option<&V>, right: Option<&W>| Some(joiner(key, left, right));
        self.join_streams("outer_join", other, windows, buffers, Sides::Outer, joiner)
    }

    fn join_streams<W: 'static, O: 'static, D: Chain<Key = K, Value = W>>(
        self,
        name: &'static str,
        other: Stream<'b, K, W, D>,
        windows: JoinWindows,
        buffers: &JoinBuffers<K, V, W>,
        sides: Sides,
        joiner: impl Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
    ) -> Stream<'b, K, O, Port<K, O>> {
        self.refuse_changed_key(name);
        other.refuse_changed_key(name);
        let builder = self.builder;
        let parents = [self.node, other.node];
        let node = builder.graph(|graph| graph.add_node(NodeKind::Operator(name), &parents));
        let table = |part: &str, types: Option<Types>| {
            let table: Arc<str> = format!("{}-{part}", buffers.name).into();
            builder.graph(|graph| JoinTable {
                index: graph.add_table(&table, stream_join::LAYOUT, types, name, node),
                clock: graph.add_clock(Arc::clone(&table), node),
                name: table,
            })
        };
        let left = table("left", Some(Types::new(&*buffers.key, &*buffers.left)));
        let right = table("right", Some(Types::new(&*buffers.key, &*buffers.right)));
        // It holds values of both sides.
        let unmatched = (sides != Sides::Inner).then(|| table("unmatched", None));
        let clock = builder.graph(|graph| graph.add_clock(format!("{}/1", left.name), node));
        let side = |table| JoinSide { table, state: builder.graph(Graph::add_state) };
        let port = Port::new();
        let join = Arc::new(StreamJoin {
            left: side(left),
            right: side(right),
            unmatched,
            clock,
            windows,
            sides,
            key: Arc::clone(&buffers.key),
            left_value: Arc::clone(&buffers.left),
            right_value: Arc::clone(&buffers.right),
            joiner,
            next: port.clone(),
        });
        builder.graph(|graph| graph.add_hook(node, Arc::clone(&join) as _));
        self.chain.connect(LeftSide(Arc::clone(&join)), builder);
        other.chain.connect(RightSide(join), builder);
        Stream::new(builder, port, node)
    }

    /// Joins each record with the row that `table` has for its key at that moment. Records without
    /// a row are dropped. Changes of the table produce no output. Both must have the same
    /// partitioning.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let names = Topic::<u64, String>::new("names");
    /// let logins = Topic::<u64, i64>::new("logins");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let name = app.table(&names, &Table::new("name"));
    /// app.stream(&logins).join_table(&name, |_, at, name| format!("{name} at {at}")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&logins, 7, 100)?;
    /// test.send(&names, 7, "Ann".into())?;
    /// test.send(&logins, 7, 200)?;
    /// assert_eq!(test.take(&out)?, [(7, "Ann at 200".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_table<T: Clone + 'static, O: 'static>(
        self,
        table: &TableStream<'b, K, T>,
        joiner: impl Fn(&K, &V, &T) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, impl Chain<Key = K, Value = O>> {
        self.look_up("join_table", table, look_up::joins(joiner))
    }

    /// [`join_table`](Stream::join_table) that also forwards records without a row.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let names = Topic::<u64, String>::new("names");
    /// let logins = Topic::<u64, i64>::new("logins");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let name = app.table(&names, &Table::new("name"));
    /// app.stream(&logins).left_join_table(&name, |_, at, name| format!("{name:?} {at}")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&logins, 7, 100)?;
    /// assert_eq!(test.take(&out)?, [(7, "None 100".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join_table<T: Clone + 'static, O: 'static>(
        self,
        table: &TableStream<'b, K, T>,
        joiner: impl Fn(&K, &V, Option<&T>) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, impl Chain<Key = K, Value = O>> {
        self.look_up("left_join_table", table, look_up::left_joins(joiner))
    }

    fn look_up<T: Clone + 'static, O: 'static>(
        self,
        name: &'static str,
        table: &TableStream<'b, K, T>,
        joiner: impl Fn(&K, &V, Option<&T>) -> Option<O> + Send + Sync + 'static,
    ) -> Stream<'b, K, O, impl Chain<Key = K, Value = O>> {
        self.refuse_changed_key(name);
        if table.key_changed {
            self.builder.problem(format!(
                "{name} with a windowed table: its rows are in the partitions of other keys"
            ));
        }
        let builder = self.builder;
        let parents = [self.node, table.node];
        let node = builder.graph(|graph| graph.add_node(NodeKind::Operator(name), &parents));
        let row = look_up::own_row(Arc::clone(&table.rows));
        let chain =
            Then { chain: self.chain, operator: look_up::LookUp { row, joiner, of: PhantomData } };
        Stream::new(builder, chain, node)
    }
}
