//! The steps of a topology as they are described.

use std::sync::Arc;

use crate::state::tables::TableIndex;

/// A node's number in the order of description.
pub(crate) type NodeId = usize;

/// A step as `describe()` shows it. The receivers are what runs.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) tables: Vec<TableIndex>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Source(Arc<str>),
    Operator(&'static str),
    Sink(Arc<str>),
    /// A sink whose topic is known only per record, or an agent's declared set of topics.
    DynamicSink,
    Repartition(Arc<str>),
    Agent(Arc<str>),
    Calls(Arc<str>),
    Processor(Arc<str>),
    Ticks(TicksNode),
}

/// What `describe()` shows of ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TicksNode {
    pub(crate) name: Arc<str>,
    /// When they come, in words.
    pub(crate) schedule: String,
    /// Their own topic, unless they run in each task of a stream.
    pub(crate) topic: Option<Arc<str>>,
}
