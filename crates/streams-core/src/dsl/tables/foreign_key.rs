//! Joins of tables by a foreign key.

use std::marker::PhantomData;
use std::sync::Arc;

use super::TableStream;
use crate::builder::{Builder, Types};
use crate::chain::Chain;
use crate::codec::{Codec, Json, JsonValue};
use crate::consumed::Consumed;
use crate::dsl::{SourceChain, Stream};
use crate::operators::foreign_key::{
    Answer, Join, Left, QuestionCodec, ReplyCodec, Right, SubscribeByForeignKey, Tell,
};
use crate::operators::{StoredRows, ToTable};
use crate::state::changelog::Layout;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::topic::Topic;
use crate::topology::SourceKind;
use crate::topology::{NodeId, NodeKind};

/// The right side of a foreign-key join, with a codec for its rows; see [`TableStream::sent_as`].
pub struct SentRows<'b, K, V> {
    table: TableStream<'b, K, V>,
    codec: Arc<dyn Codec<V>>,
}

/// What a foreign key may refer to: a table whose rows travel as JSON, or in the codec of
/// [`sent_as`](TableStream::sent_as).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the right side of a foreign-key join",
    label = "not a table of that key and row",
    note = "give a reference to a `TableStream`, or `table.sent_as(codec)`"
)]
pub trait ForeignTable<'b, K, V> {
    /// Returns the table with a codec for its rows.
    fn into_sent_rows(self) -> SentRows<'b, K, V>;
}

impl<'b, K, V: JsonValue> ForeignTable<'b, K, V> for &TableStream<'b, K, V> {
    fn into_sent_rows(self) -> SentRows<'b, K, V> {
        SentRows { table: self.clone(), codec: Arc::new(Json) }
    }
}

impl<'b, K, V> ForeignTable<'b, K, V> for SentRows<'b, K, V> {
    fn into_sent_rows(self) -> Self {
        self
    }
}

impl<'b, K: Clone + 'static, V: Clone + 'static> TableStream<'b, K, V> {
    /// Joins each row with the row of `right` that it refers to: `foreign_key` returns that row's
    /// key, or `None` if there is none. The result has this table's keys, changes whenever either
    /// row changes, and is stored in `table`.
    ///
    /// The tables may be partitioned differently: subscriptions and responses travel through the
    /// repartition topics `{table}-subscription` and `{table}-response`. A response to an older
    /// version of a row is dropped. Rows of `right` travel as JSON, unless
    /// [`sent_as`](TableStream::sent_as) sets another codec.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let orders = Topic::new("orders");
    /// let names = Topic::new("names");
    /// let app = Builder::new("example");
    /// let order = app.table(&orders, &Table::<u64, String>::new("order")); // id, customer
    /// let name = app.table(&names, &Table::<String, String>::new("name"));
    /// let greetings = Table::<u64, String>::new("greetings");
    /// let customer = |_: &u64, customer: &String| Some(customer.clone());
    /// order.fk_join(&name, &greetings, customer, |id, _, name| format!("{name}'s order {id}"));
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&orders, 7, "c1".into())?;
    /// test.send(&names, "c1".into(), "Ann".into())?;
    /// assert_eq!(test.table(&greetings, &7)?.as_deref(), Some("Ann's order 7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fk_join<F, W, O>(
        &self,
        right: impl ForeignTable<'b, F, W>,
        table: &Table<K, O>,
        foreign_key: impl Fn(&K, &V) -> Option<F> + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, &W) -> O + Send + Sync + 'static,
    ) -> TableStream<'b, K, O>
    where
        F: Clone + 'static,
        W: Clone + 'static,
        O: Clone + 'static,
    {
        let joiner = move |key: &K, left: &V, right: Option<&W>| Some(joiner(key, left, right?));
        self.foreign(right.into_sent_rows(), table, foreign_key, joiner, false)
    }

    /// [`fk_join`](TableStream::fk_join) with a result for every row of this table, even if the row
    /// that it refers to does not exist.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let orders = Topic::new("orders");
    /// let names = Topic::new("names");
    /// let app = Builder::new("example");
    /// let order = app.table(&orders, &Table::<u64, String>::new("order")); // id, customer
    /// let name = app.table(&names, &Table::<String, String>::new("name"));
    /// let greetings = Table::<u64, String>::new("greetings");
    /// let customer = |_: &u64, customer: &String| Some(customer.clone());
    /// let greet = |id: &u64, _: &String, name: Option<&String>| format!("{name:?}, order {id}");
    /// order.fk_left_join(&name, &greetings, customer, greet);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&orders, 7, "c1".into())?;
    /// assert_eq!(test.table(&greetings, &7)?.as_deref(), Some("None, order 7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fk_left_join<F, W, O>(
        &self,
        right: impl ForeignTable<'b, F, W>,
        table: &Table<K, O>,
        foreign_key: impl Fn(&K, &V) -> Option<F> + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&W>) -> O + Send + Sync + 'static,
    ) -> TableStream<'b, K, O>
    where
        F: Clone + 'static,
        W: Clone + 'static,
        O: Clone + 'static,
    {
        let joiner = move |key: &K, left: &V, right: Option<&W>| Some(joiner(key, left, right));
        self.foreign(right.into_sent_rows(), table, foreign_key, joiner, true)
    }

    /// Returns the right side of a foreign-key join whose rows travel in a codec of your choice.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater::codec::Bytes;
    /// let orders = Topic::new("orders");
    /// let names = Topic::new("names");
    /// let app = Builder::new("example");
    /// let order = app.table(&orders, &Table::<u64, String>::new("order")); // id, customer
    /// let name = app.table(&names, &Table::<String, String>::new("name"));
    /// let customer = |_: &u64, customer: &String| Some(customer.clone());
    /// let greet = |id: &u64, _: &String, name: &String| format!("{name}'s order {id}");
    /// let greetings = Table::<u64, String>::new("greetings");
    /// order.fk_join(name.sent_as(Bytes), &greetings, customer, greet);
    /// # app.build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sent_as(&self, codec: impl Codec<V>) -> SentRows<'b, K, V> {
        SentRows { table: self.clone(), codec: Arc::new(codec) }
    }

    fn foreign<F, W, O>(
        &self,
        right: SentRows<'b, F, W>,
        table: &Table<K, O>,
        foreign_key: impl Fn(&K, &V) -> Option<F> + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&W>) -> Option<O> + Send + Sync + 'static,
        keeps_unmatched: bool,
    ) -> TableStream<'b, K, O>
    where
        F: Clone + 'static,
        W: Clone + 'static,
        O: Clone + 'static,
    {
        let builder = self.builder;
        let SentRows { table: right, codec } = right;
        if self.key_changed || right.key_changed {
            let problem = format!(
                "the foreign-key join {} has a windowed table, which it cannot join",
                table.name
            );
            builder.problem(problem);
        }
        let asks = self.add_node("fk_join (asks)");
        let to = &right.key;
        let (questions, asked) = channel(builder, table, "subscription", asks, to, QuestionCodec);
        let looks_up = join_node(builder, "fk_join (looks up)", &[asked.node, right.node]);
        let reply = ReplyCodec(Arc::clone(&codec));
        let (answers, answered) = channel(builder, table, "response", looks_up, &self.key, reply);
        let joins = join_node(builder, "fk_join", &[answered.node, self.node]);

        let (versions, version_index) = part(builder, table, "versions", Layout::KeyValue, asks);
        let (subscriptions, subscription_index) =
            part(builder, table, "subscriptions", Layout::Ordered, looks_up);
        let types = Some(Types::of_table(table));
        let index = builder
            .graph(|graph| graph.add_table(&table.name, Layout::KeyValue, types, "fk_join", joins));
        let rows = Arc::new(StoredRows { table: table.clone(), index });
        let joined = TableStream::new(builder, joins, Arc::clone(&self.key), rows);
        let changes = builder.graph(|graph| graph.add_count(Arc::clone(&versions), asks));
        let left = Arc::new(Left {
            name: versions,
            index: version_index,
            changes,
            key: Arc::clone(&self.key),
            rows: Arc::clone(&self.rows),
            joiner,
            keeps_unmatched,
            to_table: ToTable(joined.kept_in(table, index)),
            of: PhantomData,
        });
        let right_side = Arc::new(Right {
            name: subscriptions,
            index: subscription_index,
            key: Arc::clone(&right.key),
            rows: Arc::clone(&right.rows),
            reply: ReplyCodec(codec),
            answers,
        });
        let ask = SubscribeByForeignKey {
            left: Arc::clone(&left),
            questions,
            to: Arc::clone(to),
            foreign_key,
        };
        self.changes.clone().connect(ask, builder);
        asked.chain.connect(Answer(Arc::clone(&right_side)), builder);
        right.changes.clone().connect(Tell(right_side), builder);
        answered.chain.connect(Join(left), builder);
        joined
    }
}

fn join_node(builder: &Builder, name: &'static str, parents: &[NodeId]) -> NodeId {
    builder.graph(|graph| graph.add_node(NodeKind::Operator(name), parents))
}

/// A table that belongs to the join.
fn part<K, V>(
    builder: &Builder,
    table: &Table<K, V>,
    part: &str,
    layout: Layout,
    node: NodeId,
) -> (Arc<str>, TableIndex) {
    let name = Arc::from(format!("{}-{part}", table.name));
    let index = builder.graph(|graph| graph.add_table(&name, layout, None, "fk_join", node));
    (name, index)
}

/// A repartition topic of the join: the name for its writer, and its stream.
fn channel<'b, K, V, K2: 'static, V2: 'static>(
    builder: &'b Builder,
    table: &Table<K, V>,
    part: &str,
    writer: NodeId,
    key: &Arc<dyn Codec<K2>>,
    value: impl Codec<V2>,
) -> (Arc<str>, Stream<'b, K2, V2, SourceChain<K2, V2>>) {
    let name = builder.add_repartition(&format!("{}-{part}", table.name), writer);
    let topic = Topic { name: Arc::clone(&name), key: Arc::clone(key), value: Arc::new(value) };
    (name, builder.source(Consumed::new(topic), SourceKind::Repartition))
}
