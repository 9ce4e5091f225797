//! The part of a topology that outlives the process: the names that identify state.

use std::collections::BTreeSet;

use super::{InternalKind, InternalTopic, SourceKind, SubTopology, Topology};
use crate::state::changelog::TableSpec;

impl Topology {
    /// Returns what must be the same in the next version of a program to find its state again, one
    /// item per line. That is the topics it consumes, its repartition topics, its ticks, and its
    /// tables with their inputs, windows and formats of keys and values, if the codec names a
    /// format ([`Codec::format`](crate::Codec::format)). Operators without state are not part of
    /// it, nor is what changes no stored bytes: grace, retention, the windows of a join.
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
    /// assert!(shape.contains("table counts, keys: UTF-8 text"));
    /// assert!(shape.contains("table counts, values: u64"));
    /// # Ok::<(), headwater::errors::BuildError>(())
    /// ```
    pub fn shape(&self) -> BTreeSet<String> {
        let of_users = |sub: &SubTopology| {
            let sources = sub.sources().iter().filter(|source| source.kind == SourceKind::User);
            sources.map(|source| format!("consumes {}", source.topic)).collect::<Vec<_>>()
        };
        let consumed = self.sub_topologies().iter().flat_map(of_users);
        let globals = self.globals().iter();
        let globals = globals.flat_map(|global| {
            let name = format!("global table {}", global.name());
            let terms = global.terms.lines(&name);
            std::iter::once(format!("{name} of {}", global.topic())).chain(terms)
        });
        let internal = self.internal_topics().iter();
        let line = |topic: &InternalTopic| match topic.kind {
            InternalKind::Repartition => Some(format!("re-keys by {}", topic.name)),
            InternalKind::Ticks => Some(format!("ticks by {}", topic.name)),
            InternalKind::Changelog => None,
        };
        let own = internal.filter_map(line);
        let tables = self.sub_topologies().iter().flat_map(tables);
        consumed.chain(globals).chain(own).chain(tables).collect()
    }
}

fn tables(sub: &SubTopology) -> Vec<String> {
    let sources: BTreeSet<&str> = sub.sources().iter().map(|source| &*source.topic).collect();
    let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
    let lines = |table: &TableSpec| {
        let name = format!("table {}", table.name());
        let line = format!("{name} of {}, from {sources}", table.layout.describe());
        std::iter::once(line).chain(table.terms.lines(&name)).collect::<Vec<_>>()
    };
    sub.tables().iter().flat_map(lines).collect()
}
