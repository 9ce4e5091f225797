//! The builder: collects streams, tables and agents, and freezes them into a [`Topology`].

mod freeze;
mod graph;
mod names;
mod own_topics;
mod retries;
mod types;

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::BuildError;
use crate::operators::{Expiring, ReceiveRaw, Tell};
use crate::policy::ErrorPolicy;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::topology::{NodeId, NodeKind, Topology};

pub(crate) use graph::Graph;
pub(crate) use types::Types;

/// Collects the parts of an application.
///
/// Streams borrow it, so several can be alive at once. [`build`](Builder::build) consumes it.
///
/// ```
/// use headwater::{Builder, Topic};
/// let app = Builder::new("shout");
/// let lines = Topic::<String, String>::new("lines");
/// let loud = Topic::<String, String>::new("loud-lines");
/// app.stream(&lines).map_values(|line| line.to_uppercase()).to(&loud);
/// let topology = app.build()?;
/// println!("{}", topology.describe());
/// # Ok::<(), headwater::errors::BuildError>(())
/// ```
pub struct Builder {
    graph: RefCell<Graph>,
}

impl Builder {
    /// Creates an application. The id is the consumer group and the first part of the names of its
    /// internal topics and transactional ids. It may have letters, digits, `.`, `_` and `-`.
    pub fn new(application_id: impl Into<Arc<str>>) -> Self {
        Self { graph: RefCell::new(Graph::new(application_id.into())) }
    }

    /// Sets the error policy of all sources that do not choose their own. Default:
    /// [`ErrorPolicy::Fail`].
    pub fn on_error(&self, policy: ErrorPolicy) {
        self.graph.borrow_mut().default_policy = policy;
    }

    /// Checks the description and freezes it. The error lists all problems, not only the first.
    pub fn build(self) -> Result<Topology, BuildError> {
        freeze::freeze(self.graph.into_inner())
    }

    /// Connects the chain of an independent reader: returns it with its topic, instead of adding it
    /// to what the source's records pass through. `None` if it does not begin at a topic.
    pub(crate) fn apart(&self, connect: impl FnOnce()) -> Option<(Arc<str>, Box<dyn ReceiveRaw>)> {
        self.graph(|graph| graph.apart = Some(None));
        connect();
        self.graph(|graph| graph.apart.take()).flatten()
    }

    /// Declares a repartition topic that `node` writes, and returns its name.
    pub(crate) fn add_repartition(&self, name: &str, node: NodeId) -> Arc<str> {
        self.graph(|graph| {
            graph.check_name("the repartition", name);
            let topic: Arc<str> = format!("{}-{name}-repartition", graph.application_id).into();
            graph.add_node(NodeKind::Repartition(Arc::clone(&topic)), &[node]);
            topic
        })
    }

    /// Creates what deletes the expired rows of a table, if the table has a ttl. `node` writes the
    /// table; `tell` informs the operators downstream.
    pub(crate) fn expiring(
        &self,
        table: TableIndex,
        ttl_ms: Option<i64>,
        node: NodeId,
        tell: Option<Tell>,
    ) -> Option<Arc<Expiring>> {
        let expiring = Arc::new(Expiring { index: table, tell });
        self.graph(|graph| {
            graph.expire_rows(table, ttl_ms?, node);
            graph.add_hook(node, Arc::clone(&expiring) as _);
            Some(expiring)
        })
    }

    /// Reports a problem if a table has a ttl that cannot have one.
    pub(crate) fn refuse_ttl<K, V>(&self, table: &Table<K, V>, why: &str) {
        if table.ttl_ms.is_some() {
            self.problem(format!("the table {} cannot have a ttl: {why}", table.name));
        }
    }

    pub(crate) fn graph<T>(&self, change: impl FnOnce(&mut Graph) -> T) -> T {
        change(&mut self.graph.borrow_mut())
    }

    pub(crate) fn problem(&self, problem: String) {
        self.graph.borrow_mut().problems.push(problem);
    }

    pub(crate) fn at_freeze(&self, freeze: impl FnOnce() + 'static) {
        self.graph.borrow_mut().at_freeze.push(Box::new(freeze));
    }
}
