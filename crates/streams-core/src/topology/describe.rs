//! A topology in words and as a picture.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use super::{SourceKind, SubTopology, Topology};
use crate::builder::{Node, NodeKind};

/// A topology's description: `Display` writes text, [`mermaid`](Description::mermaid) a graph.
#[derive(Clone, Copy)]
pub struct Description<'a> {
    topology: &'a Topology,
}

impl<'a> Description<'a> {
    pub(super) fn of(topology: &'a Topology) -> Self {
        Self { topology }
    }

    /// The graph in Mermaid's language, as GitHub and many editors draw it.
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
        text
    }

    fn mermaid_topics(&self, text: &mut String) {
        let mut topics = BTreeSet::new();
        for (id, node) in self.topology.nodes.iter().enumerate() {
            let edge = match &node.kind {
                NodeKind::Source(topic) => format!("t_{0}[({0})] --> n{id}", topic),
                NodeKind::Sink(topic) | NodeKind::Repartition(topic) => {
                    format!("n{id} --> t_{0}[({0})]", topic)
                }
                _ => continue,
            };
            topics.insert(edge);
        }
        for edge in topics {
            let _ = writeln!(text, "  {edge}");
        }
    }

    fn nodes_of(&self, sub: &SubTopology) -> impl Iterator<Item = (usize, &'a Node)> {
        let (id, topology) = (sub.id, self.topology);
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
            NodeKind::Processor(name) => format!("process {name}{table}"),
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
            for (id, node) in self.nodes_of(sub).filter(|(_, node)| node.parents.is_empty()) {
                let _ = node;
                self.write_tree(f, id, 1)?;
            }
            for source in sub.sources.iter().filter(|one| one.kind == SourceKind::Repartition) {
                writeln!(f, "  creates {}", source.topic)?;
            }
            for table in sub.tables.iter() {
                writeln!(f, "  creates {}", table.changelog())?;
            }
        }
        for global in &self.topology.globals {
            writeln!(f, "global table {} of {}", global.name, global.topic)?;
        }
        Ok(())
    }
}
