//! The steps of a topology as they are described.

use std::sync::Arc;

use crate::state::tables::TableIndex;

/// A node's number in the order of description.
pub(crate) type NodeId = usize;

/// A step as `describe()` shows it; what runs are the receivers.
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
    /// A sink whose topics are only known record by record, or a declared set of an agent.
    DynamicSink,
    Repartition(Arc<str>),
    Agent(Arc<str>),
    Calls(Arc<str>),
    Processor(Arc<str>),
    Ticks(TicksNode),
}

/// What is shown of ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TicksNode {
    pub(crate) name: Arc<str>,
    /// When they come, in words.
    pub(crate) schedule: String,
    /// The topic of their own, if they are not those of each task of a stream.
    pub(crate) topic: Option<Arc<str>>,
}
