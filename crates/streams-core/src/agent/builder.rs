//! The description of an agent: what it consumes, which tables and topics it uses.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use super::AgentRunner;
use super::context::{Access, Context, Declared};
use super::records::{Inbox, Records};
use super::running::{Running, RunningAgent};
use crate::builder::{Builder, NodeId, NodeKind, Reads, Types};
use crate::changelog::Layout;
use crate::error::BoxError;
use crate::operators::event_time;
use crate::policy::Consumed;
use crate::record::{RawRecord, Timestamp};
use crate::table::Table;
use crate::tables::TableIndex;
use crate::topic::Topic;
use crate::topology::SourceKind;

/// What an agent returns: an error is handled by the source's error policy; returning without one
/// is an error too, for an agent lives as long as its task.
pub type AgentResult = Result<(), BoxError>;

/// Describes an agent; see [`Builder::agent`].
///
/// ```
/// use headwater::agent::{AgentResult, Context, Records};
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
/// # Ok::<(), headwater::BuildError>(())
/// ```
#[must_use = "an agent does nothing without run"]
pub struct AgentBuilder<'b, K, V> {
    builder: &'b Builder,
    name: Arc<str>,
    topic: Topic<K, V>,
    consumed: Consumed<K, V>,
    tables: Vec<(Arc<str>, TableIndex, Access)>,
    topics: Vec<Arc<str>>,
    node: Option<NodeId>,
}

impl<'b, K: Send + 'static, V: Send + 'static> AgentBuilder<'b, K, V> {
    pub(crate) fn new(builder: &'b Builder, name: &str, topic: &Topic<K, V>) -> Self {
        builder.graph(|graph| graph.check_name("the agent", name));
        Self {
            builder,
            name: name.into(),
            topic: topic.clone(),
            consumed: Consumed::new(),
            tables: Vec::new(),
            topics: Vec::new(),
            node: None,
        }
    }

    /// How the topic is consumed. The first thing to say, if at all.
    pub fn consumed(mut self, consumed: Consumed<K, V>) -> Self {
        if self.node.is_some() {
            let problem = format!("the agent {}: consumed() comes before tables", self.name);
            self.builder.problem(problem);
        }
        self.consumed = consumed;
        self
    }

    /// The agent writes (and reads) this table, as its only writer.
    pub fn writes<K2: 'static, V2: 'static>(mut self, table: &Table<K2, V2>) -> Self {
        let (node, writer) = (self.node(), format!("the agent {}", self.name));
        let (name, types) = (&table.name, Some(Types::of_table(table)));
        let index = self
            .builder
            .graph(|graph| graph.add_table(name, Layout::KeyValue, types, &writer, node));
        self.builder.expiring(index, table.ttl_ms, node, None);
        self.tables.push((Arc::clone(name), index, Access::Write));
        self
    }

    /// The agent reads this table, which something else in the application writes. Both then run in
    /// one task, so the agent sees the table's part for its own partition, and its topic must
    /// be partitioned like the table's. A windowed table cannot be read so.
    pub fn reads<K2: 'static, V2: 'static>(mut self, table: &Table<K2, V2>) -> Self {
        let (node, reader) = (self.node(), format!("the agent {}", self.name));
        let reads = Reads::Rows;
        let index = self.builder.graph(|graph| graph.use_table(table, reads, &reader, node));
        self.tables.push((Arc::clone(&table.name), index, Access::Read));
        self
    }

    /// The agent sends to this topic.
    pub fn sends<K2: 'static, V2: 'static>(mut self, topic: &Topic<K2, V2>) -> Self {
        let (node, name) = (self.node(), Arc::clone(&topic.name));
        let sender = format!("the agent {}", self.name);
        self.builder.graph(|graph| {
            graph.use_topic(&name, sender, Types::of_topic(topic));
            graph.check_name("the topic", &name);
            graph.add_node(NodeKind::Sink(Arc::clone(&name)), &[node])
        });
        self.topics.push(name);
        self
    }

    /// The function to run, once per partition: it is called with the partition's records and a
    /// context, and what it returns runs until the task closes.
    pub fn run<F, Fut>(mut self, function: F)
    where
        F: Fn(Records<K, V>, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = AgentResult> + Send + 'static,
    {
        self.node();
        let declared =
            Declared { agent: Arc::clone(&self.name), tables: self.tables, topics: self.topics };
        let start = Box::new(move |records, cx| {
            Box::pin(function(records, cx)) as Pin<Box<dyn Future<Output = AgentResult> + Send>>
        });
        let runner = Runner {
            name: self.name,
            topic: self.topic,
            timestamps: self.consumed.timestamps,
            declared: Arc::new(declared),
            start,
        };
        let name = Arc::clone(&runner.topic.name);
        self.builder.graph(|graph| graph.add_agent(&name, Arc::new(runner)));
    }

    /// The agent's node in the graph, with its source; made when first needed.
    fn node(&mut self) -> NodeId {
        if let Some(node) = self.node {
            return node;
        }
        let Consumed { start, policy, max_ahead_ms, .. } = &self.consumed;
        let node = self.builder.graph(|graph| {
            let source = graph.add_source(
                &self.topic.name,
                SourceKind::User,
                *start,
                policy.clone(),
                *max_ahead_ms,
            );
            graph.add_node(NodeKind::Agent(Arc::clone(&self.name)), &[source])
        });
        self.node = Some(node);
        node
    }
}

type Start<K, V> = Box<
    dyn Fn(Records<K, V>, Context) -> Pin<Box<dyn Future<Output = AgentResult> + Send>>
        + Send
        + Sync,
>;

struct Runner<K, V> {
    name: Arc<str>,
    topic: Topic<K, V>,
    timestamps: Option<crate::policy::Extractor<K, V>>,
    declared: Arc<Declared>,
    start: Start<K, V>,
}

impl<K: Send + 'static, V: Send + 'static> AgentRunner for Runner<K, V> {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn start(&self) -> Box<dyn Running> {
        let inbox = Arc::new(Mutex::new(Inbox::new()));
        let loan = Arc::new(Mutex::new(None));
        let context = Context { loan: Arc::clone(&loan), declared: Arc::clone(&self.declared) };
        let future = (self.start)(Records { inbox: Arc::clone(&inbox) }, context);
        Box::new(RunningAgent {
            name: Arc::clone(&self.name),
            topic: self.topic.clone(),
            timestamps: self.timestamps.clone(),
            inbox,
            loan,
            future,
        })
    }

    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp> {
        event_time(&self.topic, self.timestamps.as_ref(), record)
    }

    fn extracts_times(&self) -> bool {
        self.timestamps.is_some()
    }
}
