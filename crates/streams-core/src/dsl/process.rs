//! User-defined operators.

use std::sync::Arc;
use std::time::Duration;

use super::Stream;
use crate::builder::{Graph, Types};
use crate::chain::Chain;
use crate::operators::{
    DeclaredTable, Forward, Output, ProcessContext, ProcessError, Processor, Punctuator,
};
use crate::reader::WindowCell;
use crate::receive::{Operator, Port};
use crate::record::{Record, Timestamp};
use crate::state::changelog::Layout;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::topology::{NodeId, NodeKind};
use crate::window::millis;

/// The description of a processor; see [`Stream::process`].
#[must_use = "a processor does nothing until it is given its function by `each`"]
pub struct Process<'b, K, V, C, K2, V2> {
    stream: Stream<'b, K, V, C>,
    node: NodeId,
    forward: Forward<K2, V2>,
    punctuators: Vec<Punctuator<K2, V2>>,
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Adds a user-defined processor: a function over records that reads and writes tables and
    /// forwards any number of records, to several outputs if needed. It can also be called as time
    /// passes. Its stream time is stored under `name`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let words = Topic::<String, i64>::new("words");
    /// let counts = Topic::new("counts");
    /// let seen = Table::<String, i64>::new("seen");
    /// let app = Builder::new("example");
    /// let count = seen.clone();
    /// let flush = seen.clone();
    /// let counted = app.stream(&words).process::<String, i64>("count-words").table(&seen);
    /// let counted = counted.on_stream_time(Duration::from_secs(10), move |at, context| {
    ///     for (word, n) in context.table(&flush)?.entries()? {
    ///         context.table(&flush)?.delete(&word)?;
    ///         context.forward(Record::new(word, n, at))?;
    ///     }
    ///     Ok(())
    /// });
    /// let counted = counted.each(move |record, context| {
    ///     let mut table = context.table(&count)?;
    ///     let n = table.get(&record.key)?.unwrap_or(0);
    ///     table.put(&record.key, &(n + record.value))
    /// });
    /// counted.to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (n, seconds) in [(1, 1), (2, 5), (3, 11)] {
    ///     test.send_record(&words, Record::new("tea".into(), n, seconds * 1000))?;
    /// }
    /// assert_eq!(test.take(&counts)?, [("tea".to_owned(), 1), ("tea".to_owned(), 5)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process<K2: 'static, V2: 'static>(self, name: &str) -> Process<'b, K, V, C, K2, V2> {
        let name: Arc<str> = name.into();
        let (node, clock) = self.builder.graph(|graph| {
            graph.check_name("the processor", &name);
            let node = graph.add_node(NodeKind::Processor(Arc::clone(&name)), &[self.node]);
            // No table has a name with a slash.
            (node, graph.add_clock(format!("{name}/time"), node))
        });
        let tables = Vec::new();
        let expiring = Vec::new();
        let forward = Forward { name, tables, expiring, clock, next: Port::new() };
        Process { stream: self, node, forward, punctuators: Vec::new() }
    }

    /// Adds a user-defined operator without state, fused with its neighbours like the DSL's own
    /// operators. It may change the key.
    ///
    /// ```
    /// use headwater::{Builder, Record, Topic};
    /// use headwater::errors::Failure;
    /// use headwater::operators::TaskContext;
    /// use headwater::operators::{Operator, Receive};
    /// use headwater_testkit::TopologyTest;
    /// struct Twice;
    /// impl Operator<String, i64> for Twice {
    ///     type Key = String;
    ///     type Value = i64;
    ///     fn apply(
    ///         &self,
    ///         record: Record<String, i64>,
    ///         next: &impl Receive<String, i64>,
    ///         cx: &mut TaskContext,
    ///     ) -> Result<(), Failure> {
    ///         next.receive(record.clone(), cx)?;
    ///         next.receive(record, cx)
    ///     }
    /// }
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::new("out");
    /// let app = Builder::new("example");
    /// app.stream(&numbers).apply("twice", Twice).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4), ("a".to_owned(), 4)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply<O: Operator<K, V>>(
        self,
        name: &'static str,
        operator: O,
    ) -> Stream<'b, O::Key, O::Value, impl Chain<Key = O::Key, Value = O::Value>> {
        self.then(name, operator).rekeyed()
    }
}

impl<'b, K: 'static, V: 'static, C, K2: 'static, V2: 'static> Process<'b, K, V, C, K2, V2>
where
    C: Chain<Key = K, Value = V>,
{
    /// Declares a table that the processor reads and writes, as its only writer.
    pub fn table<T: 'static, U: 'static>(mut self, table: &Table<T, U>) -> Self {
        let name = &table.name;
        let writer = format!("the processor {}", self.forward.name);
        let types = Some(Types::of_table(table));
        let index = self
            .stream
            .builder
            .graph(|graph| graph.add_table(name, Layout::Ordered, types, &writer, self.node));
        let expiring = self.stream.builder.expiring(index, table.ttl_ms, self.node, None);
        self.forward.expiring.extend(expiring);
        self.hold(name, index, true)
    }

    /// Declares a table that the processor reads and that something else in the application writes.
    /// Both then run in one task, so the processor sees the table's part for its own partition, as
    /// the records processed before this one left it. Their topics must have the same number of
    /// partitions. Several processors may read one table. For a windowed table, sessions included,
    /// they read the [windows of a key](crate::ProcessTable::windows).
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// let visits = Topic::<String, String>::new("visits");
    /// let questions = Topic::<String, String>::new("questions");
    /// let answers = Topic::<String, u64>::new("answers");
    /// let seen = Table::<String, u64>::new("seen");
    /// let app = Builder::new("example");
    /// app.stream(&visits).group_by_key().count(&seen);
    /// let table = seen.clone();
    /// app.stream(&questions)
    ///     .process::<String, u64>("answer")
    ///     .reads(&seen)
    ///     .each(move |question, cx| {
    ///         let times = cx.table(&table)?.get(&question.value)?.unwrap_or(0);
    ///         cx.forward(Record::new(question.key, times, question.timestamp))
    ///     })
    ///     .to(&answers);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&visits, "ann".into(), "home".into())?;
    /// test.send(&questions, "how often".into(), "ann".into())?;
    /// assert_eq!(test.take(&answers)?, [("how often".to_owned(), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reads<T: 'static, U: 'static>(self, table: &Table<T, U>) -> Self {
        let name = &table.name;
        let reader = format!("the processor {}", self.forward.name);
        let index = self.stream.builder.graph(|graph| {
            let index = graph.use_table(table, &reader, self.node);
            graph.tables[index].is_ranged = true;
            index
        });
        self.hold(name, index, false)
    }

    fn hold(mut self, name: &Arc<str>, index: TableIndex, is_written: bool) -> Self {
        let cell = |graph: &mut Graph| WindowCell::clone(&graph.tables[index].kept_windows);
        let windows = self.stream.builder.graph(cell);
        self.forward.tables.push(DeclaredTable {
            name: Arc::clone(name),
            index,
            is_written,
            windows,
        });
        self
    }

    /// Calls `act` as stream time passes: after the first record, then once whenever stream time
    /// has reached or passed another multiple of `every`. `act` gets the current stream time.
    pub fn on_stream_time(
        self,
        every: Duration,
        act: impl Fn(Timestamp, &mut ProcessContext<'_, K2, V2>) -> Result<(), ProcessError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.punctuator(every, None, Box::new(act))
    }

    /// Calls `act` at an interval of wall-clock time, counted from the task's first start, with the
    /// current date in milliseconds. Missed calls are not made up for. A monotonic clock measures
    /// the interval: a change of the date costs at most one interval.
    pub fn on_wall_clock(
        self,
        every: Duration,
        act: impl Fn(Timestamp, &mut ProcessContext<'_, K2, V2>) -> Result<(), ProcessError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let name = format!("{}/wall-{}", self.forward.name, self.punctuators.len());
        let clock = self.stream.builder.graph(|graph| graph.add_clock(name, self.node));
        self.punctuator(every, Some(clock), Box::new(act))
    }

    fn punctuator(
        mut self,
        every: Duration,
        wall_clock: Option<usize>,
        act: crate::operators::Punctuate<K2, V2>,
    ) -> Self {
        let every_ms = millis(every);
        if every_ms < 1 {
            let name = &self.forward.name;
            self.stream.builder.problem(format!("{name}: the interval must be at least 1 ms"));
        }
        self.punctuators.push(Punctuator { every_ms: every_ms.max(1), wall_clock, act });
        self
    }

    /// Adds an output: returns the handle that the processor's functions send to, and its stream.
    ///
    /// ```
    /// use headwater::{Builder, Record, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let out = Topic::new("out");
    /// let texts = Topic::<String, String>::new("texts");
    /// let app = Builder::new("example");
    /// let process = app.stream(&numbers).process::<String, i64>("both");
    /// let (text, as_text) = process.output::<String, String>();
    /// let numbers_on = process.each(move |record, context| {
    ///     let Record { key, value, timestamp } = record.clone();
    ///     context.send(&text, Record::new(key, value.to_string(), timestamp))?;
    ///     context.forward(record)
    /// });
    /// numbers_on.to(&out);
    /// as_text.to(&texts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&numbers, "a".into(), 4)?;
    /// assert_eq!(test.take(&out)?, [("a".to_owned(), 4)]);
    /// assert_eq!(test.take(&texts)?, [("a".to_owned(), "4".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn output<K3: 'static, V3: 'static>(
        &self,
    ) -> (Output<K3, V3>, Stream<'b, K3, V3, Port<K3, V3>>) {
        let port = Port::new();
        let stream = Stream::new(self.stream.builder, port.clone(), self.node);
        (Output(port), stream.rekeyed())
    }

    /// Runs `function` for each record; the result is the stream of the forwarded records. The key
    /// counts as changed.
    pub fn each(
        self,
        function: impl Fn(Record<K, V>, &mut ProcessContext<'_, K2, V2>) -> Result<(), ProcessError>
        + Send
        + Sync
        + 'static,
    ) -> Stream<'b, K2, V2, Port<K2, V2>> {
        let builder = self.stream.builder;
        let port = self.forward.next.clone();
        let processor = Arc::new(Processor {
            forward: self.forward,
            punctuators: self.punctuators,
            each: function,
        });
        builder.graph(|graph| graph.add_hook(self.node, Arc::clone(&processor) as _));
        self.stream.chain.connect(processor, builder);
        Stream::new(builder, port, self.node).rekeyed()
    }
}
