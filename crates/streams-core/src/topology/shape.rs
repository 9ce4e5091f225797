//! What of a topology outlives the process: the names by which state is found again.

use std::collections::BTreeSet;

use super::{InternalKind, SourceKind, SubTopology, Topology};

impl Topology {
    /// What must be the same in the next version of a program, for its state to be found again, one
    /// line each: the topics it consumes, its repartition topics, its tables with what feeds them.
    /// Operators without state are no part of it.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// let app = Builder::new("shop");
    /// app.stream(&Topic::<String, u64>::new("orders"))
    ///     .filter(|_, amount| *amount > 0)
    ///     .group_by_key()
    ///     .count(&Table::new("counts"));
    /// let shape = app.build()?.shape();
    /// assert!(shape.contains("consumes orders"));
    /// assert!(shape.contains("table counts of keys, from orders"));
    /// # Ok::<(), headwater::BuildError>(())
    /// ```
    pub fn shape(&self) -> BTreeSet<String> {
        let of_users = |sub: &SubTopology| {
            let sources = sub.sources().iter().filter(|source| source.kind == SourceKind::User);
            sources.map(|source| format!("consumes {}", source.topic)).collect::<Vec<_>>()
        };
        let consumed = self.sub_topologies().iter().flat_map(of_users);
        let globals = self.globals().iter();
        let globals =
            globals.map(|global| format!("global table {} of {}", global.name(), global.topic()));
        let internal = self.internal_topics().iter();
        let repartition = internal.filter(|topic| topic.kind == InternalKind::Repartition);
        let repartition = repartition.map(|topic| format!("re-keys by {}", topic.name));
        let tables = self.sub_topologies().iter().flat_map(tables);
        consumed.chain(globals).chain(repartition).chain(tables).collect()
    }
}

fn tables(sub: &SubTopology) -> Vec<String> {
    let sources: BTreeSet<&str> = sub.sources().iter().map(|source| &*source.topic).collect();
    let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
    let line = |table: &crate::TableSpec| {
        format!("table {} of {}, from {sources}", table.name(), table.layout.describe())
    };
    sub.tables().iter().map(line).collect()
}
