//! The topology: what a builder froze. It is immutable and shared by all tasks.

mod describe;
mod node;
mod shape;

use std::sync::Arc;

use crate::agent::AgentRunner;
use crate::consumed::Start;
use crate::global::GlobalSource;
use crate::operator_state::StateTypes;
use crate::operators::{Hook, ReceiveRaw};
use crate::policy::ErrorPolicy;
use crate::state::changelog::TableSpec;
use crate::state::tables::TableIndex;
use crate::stream_clock::ClockIndex;
use crate::tick::TickSource;

pub use describe::Description;
pub(crate) use node::{Node, NodeId, NodeKind, TicksNode};

/// A checked, immutable application: sub-topologies that only repartition topics connect.
pub struct Topology {
    pub(crate) application_id: Arc<str>,
    pub(crate) sub_topologies: Vec<SubTopology>,
    pub(crate) globals: Vec<GlobalSource>,
    pub(crate) internal_topics: Vec<InternalTopic>,
    pub(crate) sink_topics: Vec<Arc<str>>,
    pub(crate) nodes: Vec<Node>,
    /// The number of each node's sub-topology.
    pub(crate) component: Vec<usize>,
    /// The tables' names by topology-wide number.
    pub(crate) table_names: Vec<Arc<str>>,
    /// The types of what its operators keep between records.
    pub(crate) states: StateTypes,
    /// The names under which stream times are stored.
    pub(crate) clock_names: Vec<Arc<str>>,
}

/// Operators and tables that belong together. One task of it runs per partition of its sources.
pub struct SubTopology {
    pub(crate) id: usize,
    pub(crate) sources: Vec<Source>,
    pub(crate) tables: Arc<[TableSpec]>,
    /// Topology-wide table number → number in the task's store.
    pub(crate) local: Box<[usize]>,
    /// The stream times of its operators.
    pub(crate) clocks: Vec<ClockIndex>,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) ticks: Vec<TickSource>,
}

/// A topic that a sub-topology consumes.
pub struct Source {
    /// The topic.
    pub topic: Arc<str>,
    /// Who provides the topic.
    pub kind: SourceKind,
    /// Where to start without a committed offset.
    pub start: Start,
    /// What happens to records that cannot be processed.
    pub policy: ErrorPolicy,
    /// The table of records that wait for a retry, if that is the policy.
    pub(crate) retries: Option<TableIndex>,
    pub(crate) max_ahead_ms: Option<i64>,
    /// Whether any reader of it has a timestamp extractor.
    pub(crate) extracts_times: bool,
    pub(crate) receivers: Box<[Box<dyn ReceiveRaw>]>,
    pub(crate) agents: Box<[Arc<dyn AgentRunner>]>,
}

/// Who provides a source's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The user: it must exist.
    User,
    /// The runtime: it creates the application's repartition topic.
    Repartition,
    /// The runtime: it creates a topic without records, with whose offsets ticks are committed.
    Ticks,
}

/// A topic of the application that the runtime creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its name, `{application id}-{name}-repartition`, `-changelog` or `-ticks`.
    pub name: Arc<str>,
    /// Its purpose.
    pub kind: InternalKind,
    /// How many partitions it must have.
    pub partitions: PartitionCount,
    /// The configuration that it must have, in Kafka's names.
    pub config: Vec<(String, String)>,
}

/// The purpose of an internal topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalKind {
    /// Brings records with equal keys into one partition.
    Repartition,
    /// Makes a table survive its task.
    Changelog,
    /// Has no records: the group assigns its one partition, and with it the ticks, to one instance.
    Ticks,
}

/// How many partitions an internal topic must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionCount {
    /// As many as the (other) sources of this sub-topology have.
    LikeSources(usize),
    /// As many as the largest source of any of these sub-topologies has: those that write it.
    MaxOf(Vec<usize>),
    /// This many.
    Exactly(i32),
}

impl Topology {
    /// The application id: consumer group, prefix of internal topics.
    pub fn application_id(&self) -> &Arc<str> {
        &self.application_id
    }

    /// The sub-topologies. A [`TaskId`](crate::TaskId) identifies one by its index here.
    pub fn sub_topologies(&self) -> &[SubTopology] {
        &self.sub_topologies
    }

    /// The topics that every instance reads completely. The number of a global table is its index
    /// here.
    pub fn globals(&self) -> &[GlobalSource] {
        &self.globals
    }

    /// The topics that the runtime creates and validates.
    pub fn internal_topics(&self) -> &[InternalTopic] {
        &self.internal_topics
    }

    /// The user's topics that are written to, as far as they are known in advance.
    pub fn sink_topics(&self) -> &[Arc<str>] {
        &self.sink_topics
    }

    /// Returns a description, as text or as a graph.
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

    /// The topics that it consumes. A task's inputs are numbered like this list.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Its tables. The tables of a task's store are numbered like this list.
    pub fn tables(&self) -> &[TableSpec] {
        &self.tables
    }
}
