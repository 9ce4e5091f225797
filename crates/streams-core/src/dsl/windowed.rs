//! What can be done with records grouped by key and window.

use std::sync::Arc;

use super::{Stream, TableStream, grouped};
use crate::builder::{Builder, Types};
use crate::chain::Chain;
use crate::error::{BoxError, Failure};
use crate::operators::{
    Aggregation, Finality, Sibling, WindowAggregate, WindowPorts, WindowRows, WindowTimes,
    never_merged,
};
use crate::receive::Port;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::topic::Topic;
use crate::topology::NodeId;
use crate::window::window_key;
use crate::window::{Unmerged, Windowed, Windows};

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
    W: Windows + Clone,
{
    /// Counts the records of each key and window.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<_, u64>::with("counts", TimeWindowed::<String>::of(windows), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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
    pub fn count(self, table: &Table<K, u64>) -> WindowAggregated<'b, K, u64, W> {
        self.aggregate_into("count", table, grouped::count, add_counts)
    }

    /// Combines the values of each key and window. The first value is the initial aggregate.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let largest = Topic::<_, i64>::with("largest", TimeWindowed::<String>::of(windows), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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
    ) -> WindowAggregated<'b, K, V, W> {
        let combine = Arc::new(combine);
        let merge = Arc::clone(&combine);
        let add = grouped::reduce(move |old, value| combine(old, value));
        self.aggregate_into("reduce", table, add, grouped::reduce(move |a, b| merge(a, b)))
    }

    /// Aggregates the values of each key and window: `init` creates an empty aggregate, and `add`
    /// adds a value to it.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let sums = Topic::<_, i64>::with("sums", TimeWindowed::<String>::of(windows), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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
    ) -> WindowAggregated<'b, K, A, W>
    where
        W: Unmerged,
    {
        self.aggregate_into("aggregate", table, grouped::aggregate(init, add), never_merged)
    }

    /// [`aggregate`](WindowGrouped::aggregate) with a function that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater::windows::Tumbling;
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let sums = Topic::<_, i64>::with("sums", TimeWindowed::<String>::of(windows), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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
    ) -> WindowAggregated<'b, K, A, W>
    where
        W: Unmerged,
    {
        self.aggregate_into("try_aggregate", table, grouped::try_aggregate(init, add), never_merged)
    }

    /// [`aggregate`](WindowGrouped::aggregate) for any kind of window, sessions included: `merge`
    /// combines two aggregates, of which the first is the earlier one.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Session;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let clicks = Topic::<String, String>::new("clicks");
    /// let visits = Topic::<String, String>::new("visits");
    /// let app = Builder::new("example");
    /// let second = Duration::from_secs(1);
    /// let windows = Session::of(9 * second).grace(60 * second);
    /// let sessions = app.stream(&clicks).group_by_key().window(windows);
    /// let add = |pages: &mut Vec<String>, _: &String, page| pages.push(page);
    /// let merge = |_: &String, mut first: Vec<String>, second| { first.extend(second); first };
    /// let paths = sessions.aggregate_merging(&Table::json("paths"), Vec::new, add, merge);
    /// paths.closed().map(|window, pages| (window.key, pages.join(","))).to(&visits);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (page, seconds) in [("home", 5), ("buy", 20), ("cart", 12), ("home", 100)] {
    ///     let record = Record::new("ann".to_owned(), page.to_owned(), seconds * 1000);
    ///     test.send_record(&clicks, record)?;
    /// }
    /// // The record at 12 s joins the session of 5 s; the one at 20 s was near enough to both.
    /// assert_eq!(test.take(&visits)?, [("ann".to_owned(), "home,buy,cart".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aggregate_merging<A: 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> WindowAggregated<'b, K, A, W> {
        let init = Arc::new(init);
        let merging = grouped::merging(Arc::clone(&init), merge);
        let adding = grouped::aggregate(move || init(), add);
        self.aggregate_into("aggregate", table, adding, merging)
    }

    fn aggregate_into<A: 'static>(
        self,
        name: &'static str,
        table: &Table<K, A>,
        aggregation: impl Aggregation<K, V, A>,
        merge: impl Aggregation<K, A, A>,
    ) -> WindowAggregated<'b, K, A, W>
    where
        W: Clone,
    {
        let builder = self.stream.builder;
        let node = self.stream.add_node(name);
        let state = WindowedTable::declare(builder, node, name, table, &self.windows, 1);
        state.connect(0, self.stream, &self.windows, aggregation, merge);
        state.aggregated(builder, &self.windows)
    }
}

/// The table and the stream times of a windowed aggregation, before anything is connected to it.
pub(super) struct WindowedTable<'t, K, A> {
    table: &'t Table<K, A>,
    index: TableIndex,
    node: NodeId,
    /// One for each input.
    operators: Arc<[Sibling]>,
    ports: WindowPorts<K, A>,
}

impl<'t, K: Clone + 'static, A: 'static> WindowedTable<'t, K, A> {
    /// Declares the table and one stream time for each of the `inputs` streams that it is
    /// aggregated from.
    pub(super) fn declare(
        builder: &Builder,
        node: NodeId,
        operator: &str,
        table: &'t Table<K, A>,
        windows: &impl Windows,
        inputs: usize,
    ) -> Self {
        let layout = windows.naming().layout();
        if let Some(fault) = windows.fault() {
            builder.problem(format!("the windows of the table {} {fault}", table.name));
        }
        builder.refuse_ttl(table, "its windows have a retention instead");
        let types = Some(Types::of_table(table));
        builder.graph(|graph| {
            let index = graph.add_table(&table.name, layout, types, operator, node);
            graph.set_windows(index, windows.describe());
            let name = |input: usize| match input {
                0 => table.name.to_string(),
                _ => format!("{}/{input}", table.name),
            };
            let operator = |input: usize| Sibling {
                clock: graph.add_closing_clock(name(input), node),
                state: graph.add_state(),
            };
            let operators = (0..inputs).map(operator).collect();
            Self { table, index, node, operators, ports: WindowPorts::new() }
        })
    }

    /// The end of the description.
    pub(super) fn aggregated<'b, W: Windows + Clone>(
        self,
        builder: &'b Builder,
        windows: &W,
    ) -> WindowAggregated<'b, K, A, W> {
        let times = WindowTimes::new(windows.clone(), &self.operators, &self.ports);
        builder.graph(|graph| graph.set_kept_windows(self.index, Arc::new(times)));
        let table = self.table.clone();
        let windows = windows.clone();
        let rows = Arc::new(WindowRows { table, index: self.index, windows });
        WindowAggregated { builder, node: self.node, ports: self.ports, rows }
    }

    /// Connects `stream`, number `input`, to the table.
    pub(super) fn connect<V, C, W>(
        &self,
        input: usize,
        stream: Stream<'_, K, V, C>,
        windows: &W,
        aggregation: impl Aggregation<K, V, A>,
        merge: impl Aggregation<K, A, A>,
    ) where
        V: Clone + 'static,
        C: Chain<Key = K, Value = V>,
        W: Windows + Clone,
    {
        let operator = Arc::new(WindowAggregate {
            table: self.table.clone(),
            index: self.index,
            clock: self.operators[input].clock,
            state: self.operators[input].state,
            first_state: self.operators[0].state,
            siblings: Arc::clone(&self.operators),
            windows: windows.clone(),
            aggregation,
            merge,
            ports: self.ports.clone(),
        });
        let builder = stream.builder;
        builder.graph(|graph| graph.add_hook(self.node, Arc::clone(&operator) as _));
        stream.chain.connect(operator, builder);
    }
}

/// A windowed table that grows with each record; its methods choose what it sends.
pub struct WindowAggregated<'b, K, A, W> {
    builder: &'b Builder,
    node: NodeId,
    ports: WindowPorts<K, A>,
    rows: Arc<WindowRows<K, A, W>>,
}

impl<'b, K: 'static, A: 'static, W: Unmerged> WindowAggregated<'b, K, A, W> {
    /// Returns every change of a window.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, u64>::new("out");
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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

    /// Sends every change to `topic`: short for `updates().to(topic)`.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<_, u64>::with("counts", TimeWindowed::<String>::of(windows), Text);
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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
}

impl<'b, K: 'static, A: 'static, W: Windows> WindowAggregated<'b, K, A, W> {
    /// Returns each window once, when it is complete: when stream time has reached its end plus
    /// grace. A later record of the same task advances stream time, or idle time does if the
    /// windows have an [`idle_after`](crate::window::Tumbling::idle_after). The record's timestamp
    /// is the largest in the window.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, u64>::new("out");
    /// let app = Builder::new("example");
    /// let windowed = app.stream(&numbers).group_by_key().window(windows);
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

    /// Returns the windows as a table, which can be filtered, suppressed, joined and grouped again.
    /// Its keys are windows. Its changes include the deletion of windows, such as sessions that
    /// became part of another.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Session;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let clicks = Topic::<String, i64>::new("clicks");
    /// let out = Topic::<String, Option<u64>>::new("out");
    /// let app = Builder::new("example");
    /// let sessions = Session::of(Duration::from_secs(30));
    /// let visits = app.stream(&clicks).group_by_key().window(sessions).count(&Table::new("seen"));
    /// let changes = visits.into_table().to_stream();
    /// changes.select_key(|window, _| format!("{}..{}", window.start, window.end)).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for seconds in [5, 25] {
    ///     test.send_record(&clicks, Record::new("ann".into(), 1, seconds * 1000))?;
    /// }
    /// let changes = [("5000..5000", Some(1)), ("5000..5000", None), ("5000..25000", Some(2))];
    /// assert_eq!(test.take(&out)?, changes.map(|(window, n)| (window.to_owned(), n)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_table(self) -> TableStream<'b, Windowed<K>, A>
    where
        K: Clone,
        A: Clone,
        W: Clone,
    {
        let windows = &self.rows.windows;
        let end = |key: &Windowed<K>| key.end;
        let finality = Finality { end, after_ms: windows.final_after_end_ms() };
        let key = window_key(&self.rows.table.key, windows);
        let mut table = TableStream::new(self.builder, self.node, key, self.rows);
        table.finality = Some(finality);
        table.key_changed = true;
        self.ports.changes.connect(table.changes.clone(), self.builder);
        table
    }

    fn stream(
        self,
        port: impl FnOnce(WindowPorts<K, A>) -> Port<Windowed<K>, A>,
    ) -> Stream<'b, Windowed<K>, A, Port<Windowed<K>, A>> {
        // The key now includes a window, although the record stays in its partition.
        let stream = Stream::new(self.builder, port(self.ports), self.node);
        stream.rekeyed()
    }
}

fn add_counts<K>(first: Option<u64>, _: &K, second: u64) -> Result<Option<u64>, Failure> {
    Ok(Some(first.unwrap_or(0).saturating_add(second)))
}
