//! Several streams aggregated into one table.

use std::sync::Arc;

use super::stateless::MapValues;
use super::windowed::WindowedTable;
use super::{Aggregated, Grouped, Stream, WindowAggregated, grouped};
use crate::chain::Chain;
use crate::operators::{Aggregation, never_merged};
use crate::receive::Port;
use crate::table::Table;
use crate::topology::{NodeId, NodeKind};
use crate::window::{Unmerged, Windows};

/// What one record does to an aggregate: its stream's aggregator together with the record.
type Contribution<K, A> = Arc<dyn Fn(&mut A, &K) + Send + Sync>;

/// One of the streams, with its records turned into contributions.
type CogroupInput<'b, K, A> = Stream<'b, K, Contribution<K, A>, Port<K, Contribution<K, A>>>;

/// Grouped streams that will be aggregated into one table; see [`Grouped::cogroup`].
#[must_use = "a grouping does nothing until it is aggregated"]
pub struct Cogrouped<'b, K, A> {
    inputs: Vec<CogroupInput<'b, K, A>>,
}

/// Grouped streams and windows; see [`Cogrouped::window`].
#[must_use = "a grouping does nothing until it is aggregated"]
pub struct WindowCogrouped<'b, K, A, W> {
    inputs: Vec<CogroupInput<'b, K, A>>,
    windows: W,
}

impl<'b, K: 'static, V: Clone + Send + Sync + 'static, C: Chain<Key = K, Value = V>>
    Grouped<'b, K, V, C>
{
    /// Starts an aggregation of several streams into one table; `add` adds a record of this stream
    /// to the aggregate. The streams must have the same partitioning.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let carts = Topic::<String, i64>::new("carts");
    /// let buys = Topic::<String, String>::new("buys");
    /// let app = Builder::new("example");
    /// let seen = Table::<String, (i64, Vec<String>)>::json("seen");
    /// let both = app.stream(&carts).group_by_key().cogroup(|all: &mut (i64, Vec<_>), _, n| {
    ///     all.0 += n;
    /// });
    /// let both = both.with(app.stream(&buys).group_by_key(), |all, _, what| all.1.push(what));
    /// both.aggregate(&seen, Default::default);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&carts, "ann".into(), 2)?;
    /// test.send(&buys, "ann".into(), "tea".into())?;
    /// assert_eq!(test.table(&seen, &"ann".into())?, Some((2, vec!["tea".to_owned()])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cogroup<A: 'static>(
        self,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Cogrouped<'b, K, A> {
        Cogrouped { inputs: vec![contributions(self.stream, add)] }
    }
}

impl<'b, K: 'static, A: 'static> Cogrouped<'b, K, A> {
    /// Adds another grouped stream; see [`Grouped::cogroup`] for an example.
    pub fn with<V, C>(
        mut self,
        other: Grouped<'b, K, V, C>,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Self
    where
        V: Clone + Send + Sync + 'static,
        C: Chain<Key = K, Value = V>,
    {
        self.inputs.push(contributions(other.stream, add));
        self
    }

    /// Splits each group by time. Each stream has its own stream time: a record is late when its
    /// own stream's time is past its windows. A window closes when the times of all streams that
    /// have had a record are past it.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let ins = Topic::<String, i64>::new("ins");
    /// let outs = Topic::<String, i64>::new("outs");
    /// let balance = Topic::<String, i64>::new("balance");
    /// let app = Builder::new("example");
    /// let both = app.stream(&ins).group_by_key().cogroup(|sum: &mut i64, _, n| *sum += n);
    /// let both = both.with(app.stream(&outs).group_by_key(), |sum, _, n| *sum -= n);
    /// let windowed = both.window(Tumbling::of(Duration::from_secs(1)));
    /// let sums = windowed.aggregate(&Table::new("sums"), || 0).updates();
    /// sums.select_key(|window, _| format!("{}@{}", window.key, window.start)).to(&balance);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&ins, Record::new("a".into(), 5, 100))?;
    /// test.send_record(&outs, Record::new("a".into(), 2, 900))?;
    /// assert_eq!(test.take(&balance)?, [("a@0".to_owned(), 5), ("a@0".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn window<W: Windows>(self, windows: W) -> WindowCogrouped<'b, K, A, W> {
        WindowCogrouped { inputs: self.inputs, windows }
    }

    /// Aggregates the streams; `init` makes an empty aggregate. See [`Grouped::cogroup`] for an
    /// example.
    pub fn aggregate(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A> {
        let init = Arc::new(init);
        let node = node(&self.inputs);
        let aggregated = Aggregated::declare(self.inputs[0].builder, node, "cogroup", table);
        for input in self.inputs {
            aggregated.connect(input, contribute(Arc::clone(&init)));
        }
        aggregated
    }
}

impl<'b, K: Clone + 'static, A: 'static, W: Windows + Clone> WindowCogrouped<'b, K, A, W> {
    /// Aggregates the streams per window; `init` makes an empty aggregate. See
    /// [`Cogrouped::window`] for an example.
    pub fn aggregate(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
    ) -> WindowAggregated<'b, K, A, W>
    where
        W: Unmerged,
    {
        self.aggregate_by(table, init, |_| never_merged)
    }

    /// [`aggregate`](WindowCogrouped::aggregate) for any kind of window: `merge` makes one
    /// aggregate of two, the first of which is the earlier one.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Session;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let ins = Topic::<String, i64>::new("ins");
    /// let outs = Topic::<String, i64>::new("outs");
    /// let sessions = Topic::<String, i64>::new("sessions");
    /// let app = Builder::new("example");
    /// let both = app.stream(&ins).group_by_key().cogroup(|sum: &mut i64, _, n| *sum += n);
    /// let both = both.with(app.stream(&outs).group_by_key(), |sum, _, n| *sum -= n);
    /// let windowed = both.window(Session::of(Duration::from_secs(1)));
    /// let sums = windowed.aggregate_merging(&Table::new("sums"), || 0, |_, a, b| a + b);
    /// let ends = sums.into_table().to_stream().filter(|_, sum| sum.is_some());
    /// ends.map(|window, sum| (window.key, sum.unwrap_or_default())).to(&sessions);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&ins, Record::new("a".into(), 5, 100))?;
    /// test.send_record(&outs, Record::new("a".into(), 2, 900))?;
    /// assert_eq!(test.take(&sessions)?, [("a".to_owned(), 5), ("a".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aggregate_merging(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> WindowAggregated<'b, K, A, W> {
        let merge = Arc::new(merge);
        self.aggregate_by(table, init, move |init| {
            let merge = Arc::clone(&merge);
            grouped::merging(init, move |key, first, second| merge(key, first, second))
        })
    }

    fn aggregate_by<I, M>(
        self,
        table: &Table<K, A>,
        init: I,
        merge: impl Fn(Arc<I>) -> M,
    ) -> WindowAggregated<'b, K, A, W>
    where
        I: Fn() -> A + Send + Sync + 'static,
        M: Aggregation<K, A, A>,
    {
        let init = Arc::new(init);
        let node = node(&self.inputs);
        let builder = self.inputs[0].builder;
        let count = self.inputs.len();
        let state = WindowedTable::declare(builder, node, "cogroup", table, &self.windows, count);
        for (number, input) in self.inputs.into_iter().enumerate() {
            let add = contribute(Arc::clone(&init));
            let merge = merge(Arc::clone(&init));
            state.connect(number, input, &self.windows, add, merge);
        }
        state.aggregated(builder, &self.windows)
    }
}

fn contributions<'b, K: 'static, V, A: 'static, C>(
    stream: Stream<'b, K, V, C>,
    add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
) -> CogroupInput<'b, K, A>
where
    V: Clone + Send + Sync + 'static,
    C: Chain<Key = K, Value = V>,
{
    let builder = stream.builder;
    let node = stream.node;
    let add = Arc::new(add);
    let erased = MapValues(move |_: &K, value: V| {
        let add = Arc::clone(&add);
        let contribution: Contribution<K, A> =
            Arc::new(move |all: &mut A, key: &K| add(all, key, value.clone()));
        Ok(contribution)
    });
    let port = Port::new();
    stream.then("cogroup", erased).chain.connect(port.clone(), builder);
    Stream::new(builder, port, node)
}

fn contribute<K: 'static, A: 'static>(
    init: Arc<impl Fn() -> A + Send + Sync + 'static>,
) -> impl Aggregation<K, Contribution<K, A>, A> {
    grouped::aggregate(
        move || init(),
        |all: &mut A, key: &K, contribution: Contribution<K, A>| contribution(all, key),
    )
}

/// One node below all inputs.
fn node<K, A>(inputs: &[CogroupInput<'_, K, A>]) -> NodeId {
    let parents: Vec<_> = inputs.iter().map(|input| input.node).collect();
    inputs[0].builder.graph(|graph| graph.add_node(NodeKind::Operator("aggregate"), &parents))
}
