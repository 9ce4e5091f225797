//! What can be done with records grouped by key, without windows.

use std::sync::Arc;

use super::{Stream, TableStream, WindowGrouped};
use crate::builder::{Builder, Types};
use crate::chain::Chain;
use crate::change::Change;
use crate::error::{BoxError, Cause, Failure};
use crate::operators::{Aggregate, Aggregation, Expiring, StoredRows, Tell, tells};
use crate::receive::Port;
use crate::state::changelog::Layout;
use crate::table::Table;
use crate::topic::Topic;
use crate::topology::NodeId;
use crate::window::Windows;

/// Records grouped by key; see [`Stream::group_by_key`] and [`Stream::group_by`].
#[must_use = "a grouping does nothing until it is counted, reduced or aggregated"]
pub struct Grouped<'b, K, V, C> {
    pub(crate) stream: Stream<'b, K, V, C>,
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Grouped<'b, K, V, C> {
    /// Counts the records of each key.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<String, u64>::new("counts");
    /// let app = Builder::new("example");
    /// let seen = Table::new("seen");
    /// app.stream(&numbers).group_by_key().count(&seen).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 7)?;
    /// test.send(&numbers, "b".into(), 8)?;
    /// test.send(&numbers, "a".into(), 9)?;
    /// let out = [("a".to_owned(), 1), ("b".to_owned(), 1), ("a".to_owned(), 2)];
    /// assert_eq!(test.take(&counts)?, out);
    /// assert_eq!(test.table(&seen, &"a".into())?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(self, table: &Table<K, u64>) -> Aggregated<'b, K, u64> {
        self.aggregate_into("count", table, count)
    }

    /// Combines the values of each key. The first value is the initial aggregate.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// let largest = Table::new("largest");
    /// app.stream(&numbers).group_by_key().reduce(&largest, i64::max).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 3)?;
    /// test.send(&numbers, "a".into(), 1)?;
    /// test.send(&numbers, "a".into(), 5)?;
    /// assert_eq!(test.table(&largest, &"a".into())?, Some(5));
    /// test.crash()?; // loses all local state: the changelog has it
    /// assert_eq!(test.table(&largest, &"a".into())?, Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reduce(
        self,
        table: &Table<K, V>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Aggregated<'b, K, V> {
        self.aggregate_into("reduce", table, reduce(combine))
    }

    /// Aggregates the values of each key: `init` creates an empty aggregate, and `add` adds a value
    /// to it.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// let sums = Table::new("sums");
    /// app.stream(&numbers).group_by_key().aggregate(&sums, || 0, |sum, _, n| *sum += n).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 3)?;
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 3), ("a".to_owned(), 7)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aggregate<A: 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A> {
        self.aggregate_into("aggregate", table, aggregate(init, add))
    }

    /// [`aggregate`](Grouped::aggregate) with a function that may fail.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater::errors::ErrorPolicy;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("example");
    /// app.on_error(ErrorPolicy::Skip);
    /// let add = |sum: &mut i64, _: &String, n: i64| {
    ///     *sum = sum.checked_add(n).ok_or("the sum is too large")?;
    ///     Ok::<(), &str>(())
    /// };
    /// app.stream(&numbers).group_by_key().try_aggregate(&Table::new("sums"), || 0, add).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 3)?;
    /// test.send(&numbers, "a".into(), i64::MAX)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 3)]);
    /// assert!(test.failed()[0].contains("the sum is too large"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_aggregate<A: 'static, E: Into<BoxError> + 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A> {
        self.aggregate_into("try_aggregate", table, try_aggregate(init, add))
    }

    /// Splits each group by time.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let clicks = Topic::<String, i64>::new("clicks");
    /// let per_minute = Topic::<String, u64>::new("per-minute");
    /// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
    /// let app = Builder::new("example");
    /// let clicked = app.stream(&clicks).group_by_key().window(minutes).count(&Table::new("seen"));
    /// clicked.closed().select_key(|window, _| window.key.clone()).to(&per_minute);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for seconds in [5, 59, 70] {
    ///     test.send_record(&clicks, Record::new("page".into(), 1, seconds * 1000))?;
    /// }
    /// assert_eq!(test.take(&per_minute)?, [("page".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn window<W: Windows>(self, windows: W) -> WindowGrouped<'b, K, V, C, W> {
        WindowGrouped { stream: self.stream, windows }
    }

    fn aggregate_into<A: 'static>(
        self,
        name: &'static str,
        table: &Table<K, A>,
        aggregation: impl Aggregation<K, V, A>,
    ) -> Aggregated<'b, K, A> {
        let node = self.stream.add_node(name);
        let aggregated = Aggregated::declare(self.stream.builder, node, name, table);
        aggregated.connect(self.stream, aggregation);
        aggregated
    }
}

/// A table that grows with each record; its methods choose what it sends. The table exists even if
/// nothing is sent.
pub struct Aggregated<'b, K, A> {
    builder: &'b Builder,
    node: NodeId,
    updates: Port<K, A>,
    latest: Port<K, A>,
    changes: Port<K, Change<A>>,
    rows: Arc<StoredRows<K, A>>,
    expiring: Option<Arc<Expiring>>,
}

impl<'b, K: 'static, A: 'static> Aggregated<'b, K, A> {
    /// Declares the table before anything is connected to it.
    pub(crate) fn declare(
        builder: &'b Builder,
        node: NodeId,
        operator: &str,
        table: &Table<K, A>,
    ) -> Self {
        let types = Some(Types::of_table(table));
        let index = builder
            .graph(|graph| graph.add_table(&table.name, Layout::KeyValue, types, operator, node));
        let rows = Arc::new(StoredRows { table: table.clone(), index });
        let updates = Port::new();
        let latest = Port::new();
        let changes = Port::new();
        let told = tells(table, changes.clone());
        let listens = changes.clone();
        let tell: Tell = Box::new(move |key, value, at, cx| match listens.is_connected() {
            true => told(key, value, at, cx),
            false => Ok(()),
        });
        let expiring = builder.expiring(index, table.ttl_ms, node, Some(tell));
        Self { builder, node, updates, latest, changes, rows, expiring }
    }

    /// Connects a stream to the table.
    pub(crate) fn connect<V: 'static, C: Chain<Key = K, Value = V>>(
        &self,
        stream: Stream<'b, K, V, C>,
        aggregation: impl Aggregation<K, V, A>,
    ) {
        let operator = Arc::new(Aggregate {
            table: self.rows.table.clone(),
            index: self.rows.index,
            aggregation,
            updates: self.updates.clone(),
            latest: self.latest.clone(),
            changes: self.changes.clone(),
            expiring: self.expiring.clone(),
        });
        self.builder.graph(|graph| graph.add_hook(self.node, Arc::clone(&operator) as _));
        stream.chain.connect(operator, self.builder);
    }

    /// Returns the aggregates as a table, which can be joined, filtered and grouped again.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let big = Topic::<String, Option<i64>>::new("big");
    /// let app = Builder::new("example");
    /// let sums = app.stream(&numbers).group_by_key().reduce(&Table::new("sums"), |a, b| a + b);
    /// sums.into_table().filter(|_, sum| *sum > 5).to_stream().to(&big);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for n in [4, 3, -2] {
    ///     test.send(&numbers, "a".into(), n)?;
    /// }
    /// assert_eq!(test.take(&big)?, [("a".to_owned(), Some(7)), ("a".to_owned(), None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_table(self) -> TableStream<'b, K, A>
    where
        K: Clone,
        A: Clone,
    {
        let key = Arc::clone(&self.rows.table.key);
        let table = TableStream::new(self.builder, self.node, key, self.rows);
        self.changes.connect(table.changes.clone(), self.builder);
        table
    }

    /// Returns every change: one output record for each input record.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<String, u64>::new("counts");
    /// let app = Builder::new("example");
    /// let aggregated = app.stream(&numbers).group_by_key().count(&Table::new("seen"));
    /// aggregated.updates().filter(|_, count| *count >= 2).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 7)?;
    /// test.send(&numbers, "a".into(), 8)?;
    /// test.send(&numbers, "a".into(), 9)?;
    /// assert_eq!(test.take(&counts)?, [("a".to_owned(), 2), ("a".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn updates(self) -> Stream<'b, K, A, Port<K, A>> {
        Stream::new(self.builder, self.updates, self.node)
    }

    /// Returns the last value of each changed key, once per commit. There are fewer records where
    /// keys repeat, but they wait for the commit. (Kafka Streams does this with its record cache.)
    /// Outputs have no headers.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater::spi::OwnedRecord;
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<String, u64>::new("counts");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).group_by_key().count(&Table::new("seen")).latest().to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// let bytes = |bytes: &[u8]| Some(bytes.into());
    /// for n in [7_i64, 8] {
    ///     let key = bytes(b"a");
    ///     let value = bytes(&n.to_be_bytes());
    ///     test.queue_raw("numbers", 0, OwnedRecord { key, value, ..OwnedRecord::default() });
    /// }
    /// test.send(&numbers, "a".into(), 9)?; // all three in one commit
    /// assert_eq!(test.take(&counts)?, [("a".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn latest(self) -> Stream<'b, K, A, Port<K, A>> {
        Stream::new(self.builder, self.latest, self.node)
    }

    /// Sends every change to `topic`: short for `updates().to(topic)`.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<String, u64>::new("counts");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).group_by_key().count(&Table::new("seen")).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 7)?;
    /// test.send(&numbers, "a".into(), 8)?;
    /// assert_eq!(test.take(&counts)?, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to(self, topic: &Topic<K, A>) {
        self.updates().to(topic);
    }
}

pub(crate) fn count<K, V>(count: Option<u64>, _: &K, _: V) -> Result<Option<u64>, Failure> {
    Ok(Some(count.unwrap_or(0).saturating_add(1)))
}

pub(crate) fn reduce<K: 'static, V: 'static>(
    combine: impl Fn(V, V) -> V + Send + Sync + 'static,
) -> impl Aggregation<K, V, V> {
    move |old: Option<V>, _: &K, value| {
        Ok(Some(match old {
            Some(old) => combine(old, value),
            None => value,
        }))
    }
}

pub(crate) fn aggregate<K: 'static, V: 'static, A: 'static>(
    init: impl Fn() -> A + Send + Sync + 'static,
    add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
) -> impl Aggregation<K, V, A> {
    move |old: Option<A>, key: &K, value| {
        let mut aggregate = old.unwrap_or_else(&init);
        add(&mut aggregate, key, value);
        Ok(Some(aggregate))
    }
}

pub(crate) fn try_aggregate<K: 'static, V: 'static, A: 'static, E: Into<BoxError> + 'static>(
    init: impl Fn() -> A + Send + Sync + 'static,
    add: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
) -> impl Aggregation<K, V, A> {
    move |old: Option<A>, key: &K, value| {
        let mut aggregate = old.unwrap_or_else(&init);
        add(&mut aggregate, key, value).map_err(|error| {
            Failure::new(Cause::User { operator: "try_aggregate".into(), source: error.into() })
        })?;
        Ok(Some(aggregate))
    }
}

/// Merges sessions into one: the first into an empty aggregate, then the others in order.
pub(crate) fn merging<K: 'static, A: 'static>(
    init: Arc<impl Fn() -> A + Send + Sync + 'static>,
    merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
) -> impl Aggregation<K, A, A> {
    move |first: Option<A>, key: &K, second| {
        Ok(Some(merge(key, first.unwrap_or_else(|| init()), second)))
    }
}
