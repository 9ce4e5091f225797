//! What can be said about groups of records with the same key in the same window.

use std::sync::Arc;

use super::{Stream, grouped};
use crate::builder::{Builder, NodeId};
use crate::chain::{Chain, Port};
use crate::changelog::Layout;
use crate::error::BoxError;
use crate::operators::{Aggregation, WindowAggregate, WindowPorts};
use crate::table::Table;
use crate::topic::Topic;
use crate::window::{TimeWindows, Windowed};

/// Records grouped by key and window; see [`Grouped::window`](super::Grouped::window).
#[must_use = "a grouping does nothing until it is counted, reduced or aggregated"]
pub struct WindowGrouped<'b, K, V, C, W> {
    pub(crate) stream: Stream<'b, K, V, C>,
    pub(crate) windows: W,
}

impl<'b, K, V, C, W> WindowGrouped<'b, K, V, C, W>
where
    K: Clone + 'static,
    V: Clone + 'static,
    C: Chain<Key = K, Value = V>,
    W: TimeWindows,
{
    /// Counts the records of each key and window.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, Record, Table, Topic, Tumbling};
    /// # use headwater_streams_core::codec::{Text, TimeWindowed};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<_, u64>::with("counts", TimeWindowed::<String>::of(second), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// windowed.count(&Table::new("seen")).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (7, 900), (7, 1000)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// let out: Vec<_> = test.take(&counts)?.into_iter().map(|(w, n)| (w.start, n)).collect();
    /// assert_eq!(out, [(0, 1), (0, 2), (1000, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(self, table: &Table<K, u64>) -> WindowAggregated<'b, K, u64> {
        self.aggregate_into("count", table, grouped::count)
    }

    /// Combines the values of each key and window; the first value stands for itself.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, Record, Table, Topic, Tumbling};
    /// # use headwater_streams_core::codec::{Text, TimeWindowed};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let largest = Topic::<_, i64>::with("largest", TimeWindowed::<String>::of(second), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// windowed.reduce(&Table::new("largest"), i64::max).to(&largest);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (3, 900), (4, 1000)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// let out: Vec<_> = test.take(&largest)?.into_iter().map(|(w, n)| (w.start, n)).collect();
    /// assert_eq!(out, [(0, 7), (0, 7), (1000, 4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reduce(
        self,
        table: &Table<K, V>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> WindowAggregated<'b, K, V> {
        self.aggregate_into("reduce", table, grouped::reduce(combine))
    }

    /// Aggregates the values of each key and window: `init` makes an empty aggregate, `add` adds a
    /// value to it.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, Record, Table, Topic, Tumbling};
    /// # use headwater_streams_core::codec::{Text, TimeWindowed};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let sums = Topic::<_, i64>::with("sums", TimeWindowed::<String>::of(second), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// windowed.aggregate(&Table::new("sums"), || 0, |sum, _, n| *sum += n).to(&sums);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (3, 900), (4, 1000)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// let out: Vec<_> = test.take(&sums)?.into_iter().map(|(w, n)| (w.start, n)).collect();
    /// assert_eq!(out, [(0, 7), (0, 10), (1000, 4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aggregate<A: 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> WindowAggregated<'b, K, A> {
        self.aggregate_into("aggregate", table, grouped::aggregate(init, add))
    }

    /// [`aggregate`](WindowGrouped::aggregate) with a function that may fail.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, ErrorPolicy, Record, Table, Topic, Tumbling};
    /// # use headwater_streams_core::codec::{Text, TimeWindowed};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let sums = Topic::<_, i64>::with("sums", TimeWindowed::<String>::of(second), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// app.on_error(ErrorPolicy::Skip);
    /// let add = |sum: &mut i64, _: &String, n: i64| {
    ///     *sum = sum.checked_add(n).ok_or("the sum is too large")?;
    ///     Ok::<(), &str>(())
    /// };
    /// windowed.try_aggregate(&Table::new("sums"), || 0, add).to(&sums);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (i64::MAX, 900)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// let out: Vec<_> = test.take(&sums)?.into_iter().map(|(w, n)| (w.start, n)).collect();
    /// assert_eq!(out, [(0, 7)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_aggregate<A: 'static, E: Into<BoxError> + 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> WindowAggregated<'b, K, A> {
        self.aggregate_into("try_aggregate", table, grouped::try_aggregate(init, add))
    }

    fn aggregate_into<A: 'static>(
        self,
        name: &'static str,
        table: &Table<K, A>,
        aggregation: impl Aggregation<K, V, A>,
    ) -> WindowAggregated<'b, K, A> {
        let (builder, stream, windows) = (self.stream.builder, self.stream, self.windows);
        let node = stream.add_node(name);
        let index = builder.graph(|graph| graph.add_table(&table.name, Layout::Window, name, node));
        if windows.size_ms() <= 0 {
            let problem = format!("the windows of the table {} are shorter than 1 ms", table.name);
            builder.problem(problem);
        }
        let ports = WindowPorts { updates: Port::new(), closed: Port::new() };
        let operator = Arc::new(WindowAggregate {
            table: table.clone(),
            index,
            windows,
            aggregation,
            ports: ports.clone(),
        });
        builder.graph(|graph| graph.add_hook(node, Arc::clone(&operator) as _));
        stream.chain.connect(operator, builder);
        WindowAggregated { builder, node, ports }
    }
}

/// A windowed table that grows with each record; what it sends is chosen here.
pub struct WindowAggregated<'b, K, A> {
    builder: &'b Builder,
    node: NodeId,
    ports: WindowPorts<K, A>,
}

impl<'b, K: 'static, A: 'static> WindowAggregated<'b, K, A> {
    /// Every change of a window.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, Record, Table, Topic, Tumbling};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, u64>::new("out");
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// let counts = windowed.count(&Table::new("seen")).updates();
    /// counts.map(|window, count| (format!("{}@{}", window.key, window.start), count)).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (7, 900)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// assert_eq!(test.take(&out)?, [("a@0".to_owned(), 1), ("a@0".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn updates(self) -> Stream<'b, Windowed<K>, A, Port<Windowed<K>, A>> {
        self.stream(|ports| ports.updates)
    }

    /// Each window once, when it is complete: when stream time has reached its end plus grace, by a
    /// later record of the same task, or without one if the windows have an
    /// [`idle_after`](crate::window::Tumbling::idle_after). The record's timestamp is the
    /// largest in the window.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, Record, Table, Topic, Tumbling};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, u64>::new("out");
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// let counts = windowed.count(&Table::new("seen")).closed();
    /// counts.map(|window, count| (format!("{}@{}", window.key, window.start), count)).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (7, 900), (7, 1000), (7, 900)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// // The record at 1000 closed the first window; the last one came too late for it.
    /// assert_eq!(test.take(&out)?, [("a@0".to_owned(), 2)]);
    /// assert_eq!(test.metrics().dropped_late, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn closed(self) -> Stream<'b, Windowed<K>, A, Port<Windowed<K>, A>> {
        self.stream(|ports| ports.closed)
    }

    /// Sends every change to `topic`: short for `updates().to(topic)`.
    ///
    /// ```
    /// # use headwater_streams_core::{Builder, Record, Table, Topic, Tumbling};
    /// # use headwater_streams_core::codec::{Text, TimeWindowed};
    /// # use headwater_testkit::TopologyTest;
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<_, u64>::with("counts", TimeWindowed::<String>::of(second), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(Tumbling::of(second));
    /// windowed.count(&Table::new("seen")).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, timestamp) in [(7, 100), (7, 900)] {
    ///     test.send_record(&numbers, Record::new("a".into(), n, timestamp))?;
    /// }
    /// let out = test.take(&counts)?;
    /// assert_eq!((out[1].0.key.as_str(), out[1].0.end, out[1].1), ("a", 1000, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to(self, topic: &Topic<Windowed<K>, A>) {
        self.updates().to(topic);
    }

    fn stream(
        self,
        port: impl FnOnce(WindowPorts<K, A>) -> Port<Windowed<K>, A>,
    ) -> Stream<'b, Windowed<K>, A, Port<Windowed<K>, A>> {
        // The key is another one now (with a window), although it stays in its partition.
        let stream = Stream::new(self.builder, port(self.ports), self.node);
        stream.rekeyed()
    }
}
