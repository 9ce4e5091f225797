//! Finds out which tables of a case know a row's value before a change.
//!
//! Kafka Streams stores a table only if it is named or needed, and sends old values only if an
//! operator asks for them. A filter after a table without old values sends a tombstone for every
//! row that does not pass. In Headwater a table always knows old values, so a table without them
//! becomes a stream of optional values. This module decides which of the two each table of a case
//! is.

use std::collections::BTreeMap;

use crate::case::{CaseError, CaseTopology, Op};

/// The tables of a case.
#[derive(Debug, Default)]
pub struct CasePlan {
    tables: BTreeMap<String, PlanNode>,
}

#[derive(Clone, Debug)]
struct PlanNode {
    kind: PlanNodeKind,
    /// Has a store of its own.
    is_kept: bool,
    /// Sends old values.
    tells_old: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PlanNodeKind {
    Source,
    /// Aggregations and others that always know old values.
    Knowing,
    Filter(String),
    Map(String),
    Asking(Vec<String>),
}

impl CasePlan {
    /// Visits the operators in the order in which Kafka Streams would build them.
    pub fn of(shape: &CaseTopology) -> Result<Self, CaseError> {
        let mut plan = Self::default();
        for source in shape.sources.iter().filter(|source| source.table.is_some()) {
            plan.add(&source.id, PlanNodeKind::Source, source.store.is_some());
        }
        for op in &shape.ops {
            plan.op(op)?;
        }
        Ok(plan)
    }

    /// Whether a table knows its rows' former values.
    pub fn knows_old(&self, id: &str) -> bool {
        self.tables.get(id).is_none_or(|node| match node.kind {
            PlanNodeKind::Source => node.is_kept,
            PlanNodeKind::Filter(_) => node.tells_old,
            PlanNodeKind::Map(ref parent) => {
                node.is_kept && node.tells_old || self.knows_old(parent)
            }
            PlanNodeKind::Knowing | PlanNodeKind::Asking(_) => true,
        })
    }

    fn add(&mut self, id: &str, kind: PlanNodeKind, is_kept: bool) {
        self.tables.insert(id.to_owned(), PlanNode { kind, is_kept, tells_old: false });
    }

    fn is_table(&self, id: &str) -> bool {
        self.tables.contains_key(id)
    }

    fn op(&mut self, op: &Op) -> Result<(), CaseError> {
        let from = op.get::<Option<serde_json::Value>>("from")?;
        let from = from.as_ref().and_then(|from| from.as_str()).unwrap_or_default().to_owned();
        let is_kept = op.store()?.is_some();
        match op.op.as_str() {
            "filter" | "filter_not" if self.is_table(&from) => {
                let tells_old = self.ask(&from, false);
                self.add(&op.id, PlanNodeKind::Filter(from), is_kept);
                self.set_tells_old(&op.id, tells_old);
            }
            "map_values" if self.is_table(&from) => {
                self.add(&op.id, PlanNodeKind::Map(from), is_kept)
            }
            "group_by" if self.is_table(&from) => {
                self.ask(&from, true);
            }
            "suppress" => {
                self.ask(&from, true);
                self.add(&op.id, PlanNodeKind::Asking(vec![from]), false);
            }
            "count" | "reduce" | "aggregate" | "cogroup" | "to_table" => {
                self.add(&op.id, PlanNodeKind::Knowing, true);
            }
            "join" => self.join(op)?,
            "fk_join" => {
                let left: String = op.get("left")?;
                let right: String = op.get("right")?;
                self.ask(&left, true);
                self.keep(&left);
                self.keep(&right);
                self.add(&op.id, PlanNodeKind::Source, is_kept);
            }
            _ => {}
        }
        Ok(())
    }

    fn join(&mut self, op: &Op) -> Result<(), CaseError> {
        let left: String = op.get("left")?;
        let right: String = op.get("right")?;
        self.keep(&right);
        if !self.is_table(&left) {
            return Ok(());
        }
        self.keep(&left);
        let kind: String = op.get("kind")?;
        if kind != "inner" {
            self.ask(&left, true);
        }
        if kind == "outer" {
            self.ask(&right, true);
        }
        self.add(&op.id, PlanNodeKind::Asking(vec![left, right]), op.store()?.is_some());
        Ok(())
    }

    fn set_tells_old(&mut self, id: &str, tells_old: bool) {
        if let Some(node) = self.tables.get_mut(id) {
            node.tells_old |= tells_old;
        }
    }

    /// Asks a table for old values; `force` allows storing a source for that. Returns whether it
    /// sends them.
    fn ask(&mut self, id: &str, force: bool) -> bool {
        let Some(node) = self.tables.get(id).cloned() else { return false };
        let told = match &node.kind {
            _ if node.tells_old => true,
            PlanNodeKind::Source => {
                if force {
                    self.keep(id);
                }
                force || node.is_kept
            }
            PlanNodeKind::Knowing => true,
            PlanNodeKind::Filter(parent) | PlanNodeKind::Map(parent) => {
                node.is_kept || self.ask(parent, force)
            }
            PlanNodeKind::Asking(parents) => {
                for parent in parents {
                    self.ask(parent, true);
                }
                true
            }
        };
        self.set_tells_old(id, told);
        told
    }

    /// Rows of a table are looked up: stores it, or the table from which it is derived.
    fn keep(&mut self, id: &str) {
        let Some(node) = self.tables.get_mut(id) else { return };
        match node.kind.clone() {
            PlanNodeKind::Source => node.is_kept = true,
            PlanNodeKind::Filter(parent) | PlanNodeKind::Map(parent) if !node.is_kept => {
                self.keep(&parent)
            }
            PlanNodeKind::Asking(parents) => parents.iter().for_each(|parent| self.keep(parent)),
            _ => {}
        }
    }
}
