//! The description of an agent: what it consumes, which tables and topics it uses.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::runner::{Agent, Runner};
use crate::agent::{AgentResult, Context, Declared, RecordSource, Records, TableUse};
use crate::builder::{Builder, Types};
use crate::consumed::Consumed;
use crate::intake::RawChain;
use crate::reader::WindowCell;
use crate::state::changelog::Layout;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::topic::Topic;
use crate::topology::SourceKind;
use crate::topology::{NodeId, NodeKind};

/// What an agent reads.
pub(crate) enum AgentSource<K, V> {
    Topic(Consumed<K, V>),
    /// Operators on a topic. `None` if they were refused.
    Stream {
        topic: Arc<str>,
        intake: Option<RawChain<K, V>>,
        node: NodeId,
    },
}

/// Describes an agent; see [`Builder::agent`].
///
/// ```
/// use headwater::agents::{AgentResult, Context, Records};
/// use headwater::{Builder, Table, Topic};
///
/// let app = Builder::new("greeter");
/// let visits = Topic::<String, String>::new("visits");
/// let hellos = Topic::<String, String>::new("hellos");
/// let seen = Table::<String, u64>::new("seen");
///
/// async fn greet(
///     mut visits: Records<String, String>, cx: Context,
///     seen: Table<String, u64>, hellos: Topic<String, String>,
/// ) -> AgentResult {
///     while let Some(visit) = visits.next().await {
///         let times = cx.table(&seen).update(&visit.key, |n| *n += 1)?;
///         cx.send(&hellos, visit.key, format!("hello for the {times}. time"))?;
///     }
///     Ok(())
/// }
/// app.agent("greeter", &visits)
///     .writes(&seen)
///     .sends(&hellos)
///     .run(move |records, cx| greet(records, cx, seen.clone(), hellos.clone()));
/// let topology = app.build()?;
/// # Ok::<(), headwater::errors::BuildError>(())
/// ```
#[must_use = "an agent does nothing without run"]
pub struct AgentBuilder<'b, K, V> {
    builder: &'b Builder,
    name: Arc<str>,
    from: AgentSource<K, V>,
    tables: Vec<(Arc<str>, TableIndex, TableUse)>,
    windows: Vec<(TableIndex, WindowCell)>,
    topics: Vec<Arc<str>>,
    limit: Option<Duration>,
    concurrency: usize,
    node: Option<NodeId>,
}

impl<'b, K: Send + 'static, V: Send + 'static> AgentBuilder<'b, K, V> {
    pub(crate) fn new(builder: &'b Builder, name: &str, from: AgentSource<K, V>) -> Self {
        builder.graph(|graph| graph.check_name("the agent", name));
        Self {
            builder,
            name: name.into(),
            from,
            tables: Vec::new(),
            windows: Vec::new(),
            topics: Vec::new(),
            limit: None,
            concurrency: 1,
            node: None,
        }
    }

    /// Declares a table that the agent writes and reads, as its only writer.
    pub fn writes<K2: 'static, V2: 'static>(mut self, table: &Table<K2, V2>) -> Self {
        let node = self.node();
        let writer = format!("the agent {}", self.name);
        let name = &table.name;
        let types = Some(Types::of_table(table));
        let index = self
            .builder
            .graph(|graph| graph.add_table(name, Layout::KeyValue, types, &writer, node));
        self.builder.expiring(index, table.ttl_ms, node, None);
        self.tables.push((Arc::clone(name), index, TableUse::Write));
        self
    }

    /// Declares a table that the agent reads and that something else in the application writes.
    /// Both then run in one task, so the agent sees the table's part for its own partition, and its
    /// topic must be partitioned like the table's. For a windowed table, sessions included, the
    /// agent reads the [windows of a key](crate::agent::TableAccess::windows).
    pub fn reads<K2: 'static, V2: 'static>(mut self, table: &Table<K2, V2>) -> Self {
        let node = self.node();
        let reader = format!("the agent {}", self.name);
        let (index, windows) = self.builder.graph(|graph| {
            let index = graph.use_table(table, &reader, node);
            (index, WindowCell::clone(&graph.tables[index].kept_windows))
        });
        self.windows.push((index, windows));
        self.tables.push((Arc::clone(&table.name), index, TableUse::Read));
        self
    }

    /// Declares a topic that the agent sends to.
    pub fn sends<K2: 'static, V2: 'static>(mut self, topic: &Topic<K2, V2>) -> Self {
        let node = self.node();
        let name = Arc::clone(&topic.name);
        let sender = format!("the agent {}", self.name);
        self.builder.graph(|graph| {
            graph.use_topic(&name, sender, Types::of_topic(topic));
            graph.check_name("the topic", &name);
            graph.add_node(NodeKind::Sink(Arc::clone(&name)), &[node])
        });
        self.topics.push(name);
        self
    }

    /// Limits how long the agent may take for a record or a batch, from receiving it until it asks
    /// for the next. An agent that takes longer has failed: its future is dropped, and the source's
    /// error policy decides. By default there is no limit; the application logs a warning with the
    /// topic, partition and offset of a record that has taken 30 s.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs this many futures of the function for each partition. Records with the same key bytes
    /// go to the same future, one after the other. Output has the order of the records (for a
    /// batch, that of its first record). Tables end up as if one future had processed the records
    /// in order. Both are committed exactly once. Default: one future.
    ///
    /// A future that finishes early waits for the records before its own. If one of those writes a
    /// row that the future has read, the future processes its record again from the beginning. So a
    /// row that every record reads and writes, such as a total, leaves nothing to run concurrently.
    pub fn concurrency(mut self, agents: usize) -> Self {
        self.concurrency = agents.max(1);
        self
    }

    /// Sets the function, which runs once per partition: it is called with the partition's records
    /// and a context, and its future runs until the task closes.
    pub fn run<F, Fut>(mut self, function: F)
    where
        F: Fn(Records<K, V>, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = AgentResult> + Send + 'static,
    {
        self.node();
        let declared = Declared {
            agent: Arc::clone(&self.name),
            tables: self.tables,
            windows: self.windows,
            topics: self.topics,
        };
        let start = Box::new(move |records, cx| {
            Box::pin(function(records, cx)) as Pin<Box<dyn Future<Output = AgentResult> + Send>>
        });
        let (topic, source) = match self.from {
            AgentSource::Topic(Consumed { topic, timestamps, .. }) => {
                let name = Arc::clone(&topic.name);
                (name, RecordSource::Topic { topic, timestamps })
            }
            AgentSource::Stream { topic, intake, .. } => {
                let Some(intake) = intake else { return };
                (topic, RecordSource::Stream(Arc::new(intake)))
            }
        };
        let agent = Agent { name: self.name, source, declared: Arc::new(declared), start };
        let runner =
            Runner { agent: Arc::new(agent), limit: self.limit, concurrency: self.concurrency };
        self.builder.graph(|graph| graph.add_agent(&topic, Arc::new(runner)));
    }

    /// The agent's node in the graph, with its source. It is created on first use.
    fn node(&mut self) -> NodeId {
        if let Some(node) = self.node {
            return node;
        }
        let node = self.builder.graph(|graph| {
            let parent = match &self.from {
                AgentSource::Stream { node, .. } => *node,
                AgentSource::Topic(consumed) => graph.add_source(
                    &consumed.topic.name,
                    SourceKind::User,
                    consumed.start.unwrap_or_default(),
                    consumed.policy.clone(),
                    consumed.max_ahead_ms,
                ),
            };
            graph.add_node(NodeKind::Agent(Arc::clone(&self.name)), &[parent])
        });
        self.node = Some(node);
        node
    }
}
