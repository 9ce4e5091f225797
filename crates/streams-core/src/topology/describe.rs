//! A topology as text and as a graph.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use super::{Source, SourceKind, SubTopology, Topology};
use crate::policy::ErrorPolicy;
use crate::topology::{Node, NodeKind, TicksNode};

/// The description of a topology: `Display` writes text, and [`mermaid`](Description::mermaid)
/// writes a graph. Both name every topic that the application reads, writes or creates, as far as
/// it is known in advance. If there are tables, repartition topics or ticks, the runtime also
/// creates `{application id}-topology`.
#[derive(Clone, Copy)]
pub struct Description<'a> {
    topology: &'a Topology,
}

impl<'a> Description<'a> {
    pub(super) fn of(topology: &'a Topology) -> Self {
        Self { topology }
    }

    /// Returns the graph in Mermaid's language, which GitHub and many editors draw.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for sub in &self.topology.sub_topologies {
            let _ = writeln!(text, "  subgraph sub{} [sub-topology {}]", sub.id, sub.id);
            for (id, node) in self.nodes_of(sub) {
                let _ = writeln!(text, "    n{id}[\"{}\"]", self.label(node));
            }
            text.push_str("  end\n");
        }
        for (id, node) in self.topology.nodes.iter().enumerate() {
            for parent in &node.parents {
                let _ = writeln!(text, "  n{parent} --> n{id}");
            }
        }
        self.mermaid_topics(&mut text);
        self.mermaid_tables(&mut text);
        text
    }

    /// Changelogs, and the topics of global tables, which belong to no sub-topology.
    fn mermaid_tables(&self, text: &mut String) {
        for sub in &self.topology.sub_topologies {
            for (id, node) in self.nodes_of(sub) {
                let written = node.tables.iter().filter_map(|table| sub.local.get(*table));
                let specs = written.filter_map(|local| sub.tables.get(*local));
                for changelog in specs.map(|table| table.changelog()) {
                    let _ = writeln!(text, "  n{id} -.- t_{changelog}[({changelog})]");
                }
            }
        }
        for (number, global) in self.topology.globals.iter().enumerate() {
            let topic = &global.topic;
            let name = &global.name;
            let _ = writeln!(text, "  t_{topic}[({topic})] --> g{number}[[\"global {name}\"]]");
        }
    }

    fn mermaid_topics(&self, text: &mut String) {
        let mut topics = BTreeSet::new();
        for (id, node) in self.topology.nodes.iter().enumerate() {
            let edge = match &node.kind {
                NodeKind::Source(topic) | NodeKind::Ticks(TicksNode { topic: Some(topic), .. }) => {
                    format!("t_{0}[({0})] --> n{id}", topic)
                }
                NodeKind::Sink(topic) | NodeKind::Repartition(topic) => {
                    format!("n{id} --> t_{0}[({0})]", topic)
                }
                _ => continue,
            };
            topics.insert(edge);
        }
        for (id, node) in self.topology.nodes.iter().enumerate() {
            let topic = match &node.kind {
                NodeKind::Source(topic) => topic,
                NodeKind::Ticks(TicksNode { topic: Some(topic), .. }) => topic,
                _ => continue,
            };
            if let Some(dead) = self.source(topic).and_then(|one| one.policy.dead_letters()) {
                topics.insert(format!("n{id} -. failed .-> t_{dead}[({dead})]"));
            }
        }
        for edge in topics {
            let _ = writeln!(text, "  {edge}");
        }
    }

    fn source(&self, topic: &str) -> Option<&'a Source> {
        let subs = self.topology.sub_topologies.iter();
        subs.flat_map(|sub| &sub.sources).find(|source| &*source.topic == topic)
    }

    fn nodes_of(&self, sub: &SubTopology) -> impl Iterator<Item = (usize, &'a Node)> {
        let id = sub.id;
        let topology = self.topology;
        let nodes = topology.nodes.iter().enumerate().zip(&topology.component);
        nodes.filter(move |(_, component)| **component == id).map(|(node, _)| node)
    }

    fn label(&self, node: &Node) -> String {
        let tables: Vec<_> =
            node.tables.iter().map(|table| &*self.topology.table_names[*table]).collect();
        let table =
            if tables.is_empty() { String::new() } else { format!(" [{}]", tables.join(", ")) };
        match &node.kind {
            NodeKind::Source(topic) => format!("source {topic}"),
            NodeKind::Operator(name) => format!("{name}{table}"),
            NodeKind::Sink(topic) => format!("sink {topic}"),
            NodeKind::DynamicSink => "sink (topic by record)".to_owned(),
            NodeKind::Repartition(topic) => format!("repartition {topic}"),
            NodeKind::Agent(name) => format!("agent {name}{table}"),
            NodeKind::Calls(name) => format!("map_async {name}"),
            NodeKind::Processor(name) => format!("process {name}{table}"),
            NodeKind::Ticks(ticks) => format!("ticks {}, {}", ticks.name, ticks.schedule),
        }
    }

    fn children(&self, parent: usize) -> impl Iterator<Item = usize> {
        let nodes = self.topology.nodes.iter().enumerate();
        nodes.filter(move |(_, node)| node.parents.contains(&parent)).map(|(id, _)| id)
    }

    fn write_tree(&self, f: &mut fmt::Formatter<'_>, id: usize, depth: usize) -> fmt::Result {
        writeln!(f, "{:1$}{2}", "", 2 * depth, self.label(&self.topology.nodes[id]))?;
        self.children(id).try_for_each(|child| self.write_tree(f, child, depth + 1))
    }
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "application {}", self.topology.application_id)?;
        for sub in &self.topology.sub_topologies {
            writeln!(f, "sub-topology {}", sub.id)?;
            for (id, _) in self.nodes_of(sub).filter(|(_, node)| node.parents.is_empty()) {
                self.write_tree(f, id, 1)?;
            }
            for source in &sub.sources {
                write_policy(f, &source.topic, &source.policy)?;
            }
            for source in sub.sources.iter().filter(|one| one.kind == SourceKind::Repartition) {
                writeln!(f, "  creates {}, a repartition topic", source.topic)?;
            }
            for source in sub.sources.iter().filter(|one| one.kind == SourceKind::Ticks) {
                writeln!(f, "  creates {}, a topic of ticks without records", source.topic)?;
            }
            for table in sub.tables.iter() {
                let changelog = table.changelog();
                let name = table.name();
                write!(f, "  creates {changelog}, the changelog of {name}")?;
                match table.ttl {
                    Some(ttl) => writeln!(f, ", whose rows expire after {} ms", ttl.ms)?,
                    None => writeln!(f)?,
                }
            }
        }
        for global in &self.topology.globals {
            writeln!(f, "global table {} of {}", global.name, global.topic)?;
            write_policy(f, &global.topic, &global.policy)?;
        }
        Ok(())
    }
}

/// Writes what happens to records that fail, unless they stop the application.
fn write_policy(f: &mut fmt::Formatter<'_>, topic: &str, policy: &ErrorPolicy) -> fmt::Result {
    match policy {
        ErrorPolicy::Fail => Ok(()),
        ErrorPolicy::Skip => writeln!(f, "  skips records of {topic} that fail"),
        ErrorPolicy::DeadLetter(dead) => {
            writeln!(f, "  sends records of {topic} that fail to {dead}, a dead-letter topic")
        }
        ErrorPolicy::Retry(retry) => {
            let retries = retry.retries;
            let held = if retry.hold_key { ", in order" } else { "" };
            writeln!(f, "  retries records of {topic} that fail, {retries} times{held}")?;
            write_policy(f, topic, &retry.then)
        }
    }
}
