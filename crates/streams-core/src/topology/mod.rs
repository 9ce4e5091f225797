//! The topology: what a builder froze. Immutable and shared by all tasks.

mod describe;
mod node;
mod shape;

use std::sync::Arc;

use crate::agent::AgentRunner;
use crate::consumed::Start;
use crate::global::GlobalSource;
use crate::operators::{Hook, ReceiveRaw};
use crate::policy::ErrorPolicy;
use crate::state::changelog::TableSpec;
use crate::state::tables::TableIndex;
use crate::stream_clock::ClockIndex;
use crate::tick::TickSource;

pub use describe::Description;
pub(crate) use node::{Node, NodeId, NodeKind, TicksNode};

/// A checked, immutable application: sub-topologies, connected by repartition topics only.
pub struct Topology {
    pub(crate) application_id: Arc<str>,
    pub(crate) sub_topologies: Vec<SubTopology>,
    pub(crate) globals: Vec<GlobalSource>,
    pub(crate) internal_topics: Vec<InternalTopic>,
    pub(crate) sink_topics: Vec<Arc<str>>,
    pub(crate) nodes: Vec<Node>,
    /// For each node the number of its sub-topology.
    pub(crate) component: Vec<usize>,
    /// The tables' names by topology-wide number.
    pub(crate) table_names: Vec<Arc<str>>,
    /// The names that stream times are kept under.
    pub(crate) clock_names: Vec<Arc<str>>,
}

/// Operators and tables that belong together: one task of it runs per partition of its sources.
pub struct SubTopology {
    pub(crate) id: usize,
    pub(crate) sources: Vec<Source>,
    pub(crate) tables: Arc<[TableSpec]>,
    /// Topology-wide table number → number in the task's store.
    pub(crate) local: Box<[usize]>,
    /// The stream times that its operators keep.
    pub(crate) clocks: Vec<ClockIndex>,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) ticks: Vec<TickSource>,
}

/// A topic that a sub-topology consumes.
pub struct Source {
    /// The topic.
    pub topic: Arc<str>,
    /// Whose topic it is.
    pub kind: SourceKind,
    /// Where to begin without a committed offset.
    pub start: Start,
    /// What happens to records that cannot be processed.
    pub policy: ErrorPolicy,
    /// The table of those that wait to be tried again, if that is the policy.
    pub(crate) retries: Option<TableIndex>,
    pub(crate) max_ahead_ms: Option<i64>,
    /// Whether any of those that follow has a timestamp extractor.
    pub(crate) extracts_times: bool,
    pub(crate) receivers: Box<[Box<dyn ReceiveRaw>]>,
    pub(crate) agents: Box<[Arc<dyn AgentRunner>]>,
}

/// Whose topic a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The user's: it must exist.
    User,
    /// A repartition topic of the application: the runtime creates it.
    Repartition,
    /// A topic of the application that has no records: ticks are committed with its offsets. The
    /// runtime creates it.
    Ticks,
}

/// A topic that belongs to the application and is created by the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its name, `{application id}-{name}-repartition`, `-changelog` or `-ticks`.
    pub name: Arc<str>,
    /// What it is for.
    pub kind: InternalKind,
    /// How many partitions it must have.
    pub partitions: PartitionCount,
    /// The topic configuration that it must have, as Kafka names it.
    pub config: Vec<(String, String)>,
}

/// What an internal topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalKind {
    /// Brings records with equal keys into one partition.
    Repartition,
    /// Makes a table survive its task.
    Changelog,
    /// Has no records: the group gives its one partition to one instance, and with it the ticks.
    Ticks,
}

/// How many partitions an internal topic must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionCount {
    /// As many as the (other) sources of this sub-topology have.
    LikeSources(usize),
    /// As many as the largest source of any of these sub-topologies has: those that write it.
    MaxOf(Vec<usize>),
    /// So many.
    Exactly(i32),
}

impl Topology {
    /// The application id: consumer group, prefix of internal topics.
    pub fn application_id(&self) -> &Arc<str> {
        &self.application_id
    }

    /// The sub-topologies; a [`TaskId`](crate::TaskId) names one by its place here.
    pub fn sub_topologies(&self) -> &[SubTopology] {
        &self.sub_topologies
    }

    /// The topics that every instance reads whole; a global table has its place here as number.
    pub fn globals(&self) -> &[GlobalSource] {
        &self.globals
    }

    /// The topics that the runtime creates and validates.
    pub fn internal_topics(&self) -> &[InternalTopic] {
        &self.internal_topics
    }

    /// The user's topics that are written to, as far as they are known beforehand.
    pub fn sink_topics(&self) -> &[Arc<str>] {
        &self.sink_topics
    }

    /// What it is made of, as text or as a graph.
    pub fn describe(&self) -> Description<'_> {
        Description::of(self)
    }
}

impl Source {
    /// The number of the agent of that name.
    pub(crate) fn agent(&self, name: &str) -> Option<usize> {
        self.agents.iter().position(|agent| **agent.name() == *name)
    }
}

impl SubTopology {
    pub(crate) fn empty(id: usize) -> Self {
        Self {
            id,
            sources: Vec::new(),
            tables: Arc::new([]),
            local: Box::default(),
            clocks: Vec::new(),
            hooks: Vec::new(),
            ticks: Vec::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> usize {
        self.id
    }

    /// The topics it consumes; a task's inputs have the numbers of this list.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Its tables; a task's store has the numbers of this list.
    pub fn tables(&self) -> &[TableSpec] {
        &self.tables
    }
}
