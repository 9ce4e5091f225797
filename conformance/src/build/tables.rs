//! Operators on tables.

use std::time::Duration;

use headwater::tables::{Suppress, TableStream};

use super::sinks::has_key;
use super::sources::table;
use super::{Build, CaseNode, CaseTable, Flow, with_key};
use crate::case::{CaseError, Op};
use crate::functions::{Predicate, ValueFunction};
use crate::key::{Key, RowKey, Val, ValCodec, val};

impl<'b> Build<'b> {
    pub(super) fn filter_table(
        &mut self,
        op: &Op,
        node: CaseNode<'b>,
        predicate: Predicate,
        wanted: bool,
    ) -> Result<(), CaseError> {
        if let Some(pairs) = self.pairs_of(op)? {
            return self.filter_pairs(op, pairs, predicate, wanted);
        }
        let test = move |key: &Key, value: &Val| predicate.apply(key, value) == wanted;
        if !self.plan.knows_old(&op.id) {
            let rekeyed = Self::is_rekeyed(&node);
            let stream = self.as_stream(&op.id, node)?;
            let passing =
                move |key: &Key, value: Val| value.filter(|v| test(key, &Some(v.clone())));
            let stream = stream.map_values_with_key(passing).shared();
            return self.add_changes(op, Flow { stream, rekeyed });
        }
        let node = match self.known(op, node)? {
            CaseNode::Table(rows) => CaseNode::Table(rows.filter(test)),
            CaseNode::WindowTable(rows) => {
                CaseNode::WindowTable(rows.filter(move |key, value| test(&key.to_key(), value)))
            }
            _ => return Err(CaseError::at(&op.id, "it filters no table")),
        };
        self.add_kept(op, node)
    }

    pub(super) fn map_table(
        &mut self,
        op: &Op,
        node: CaseNode<'b>,
        function: ValueFunction,
    ) -> Result<(), CaseError> {
        // A row with a null value does not exist; the function sees the others.
        let map =
            move |key: &Key, value: Val| value.and_then(|value| function.apply(key, Some(value)));
        if let Some(pairs) = self.pairs_of(op)? {
            self.map_pairs(op, pairs, map.clone());
        }
        if let CaseNode::Changes(Flow { stream, rekeyed }) = node {
            let stream = stream.map_values_with_key(map).shared();
            return self.add_changes(op, Flow { stream, rekeyed });
        }
        let rows = move |key: &Key, value: Val| val(map(key, value)).map(Some);
        let node = match node {
            CaseNode::Table(table) => CaseNode::Table(table.filter_map(rows)),
            CaseNode::WindowTable(table) => CaseNode::WindowTable(table.filter_map(with_key(rows))),
            _ => return Err(CaseError::at(&op.id, "it maps no table")),
        };
        self.add_kept(op, node)
    }

    /// A table that does not know its rows' former values, stored if the case names it.
    fn add_changes(&mut self, op: &Op, flow: Flow<'b>) -> Result<(), CaseError> {
        let Some(name) = op.store()? else {
            return self.add(op, CaseNode::Changes(flow));
        };
        let stream = self.settled(&op.id, flow);
        self.stores.insert(name.clone(), CaseTable::Values(table(&name)));
        let kept = stream.to_table(&table_of_values(&name));
        self.add(op, CaseNode::Table(as_values(&kept)))
    }

    /// Stores a derived table if the case names it.
    pub(super) fn add_kept(&mut self, op: &Op, node: CaseNode<'b>) -> Result<(), CaseError> {
        let node = match (op.store()?, node) {
            (Some(name), CaseNode::Table(rows)) => {
                self.stores.insert(name.clone(), CaseTable::Values(table(&name)));
                CaseNode::Table(rows.keep(&table(&name)))
            }
            (_, node) => node,
        };
        self.add(op, node)
    }

    /// A table whose rows can be read.
    pub(super) fn known(&mut self, op: &Op, node: CaseNode<'b>) -> Result<CaseNode<'b>, CaseError> {
        match node {
            CaseNode::Changes(flow) => {
                let stream = self.settled(&op.id, flow);
                let name = self.generate(&op.id);
                let kept = stream.to_table(&table_of_values(&name));
                Ok(CaseNode::Table(as_values(&kept)))
            }
            node @ (CaseNode::Table(_) | CaseNode::WindowTable(_)) => Ok(node),
            _ => Err(CaseError::at(&op.id, "it needs a table")),
        }
    }

    pub(super) fn turn_into_stream(&mut self, op: &Op) -> Result<(), CaseError> {
        let node = self.from(op)?;
        let rekeyed = Self::is_rekeyed(&node);
        let stream = self.as_stream(&op.id, node)?;
        self.add(op, CaseNode::Stream(Flow { stream, rekeyed }))
    }

    pub(super) fn turn_into_table(&mut self, op: &Op) -> Result<(), CaseError> {
        let flow = self.flow(op, &op.get::<String>("from")?)?;
        let stream = self.settled(&op.id, flow).filter(has_key);
        let name = self.store_name(op)?;
        self.stores.insert(name.clone(), CaseTable::Values(table(&name)));
        let kept = stream.to_table(&table_of_values(&name));
        self.add(op, CaseNode::Table(as_values(&kept)))
    }

    pub(super) fn suppress(&mut self, op: &Op) -> Result<(), CaseError> {
        let until: String = op.get("until")?;
        let suppress = match until.as_str() {
            "window_close" => Suppress::until_window_closes(),
            "time_limit" => {
                let limit = Suppress::until_time_limit(Duration::from_millis(op.get("ms")?));
                match op.get("max_records")? {
                    Some(max) => limit.max_records(max),
                    None => limit,
                }
            }
            other => return Err(CaseError::at(&op.id, format!("until {other} is not known"))),
        };
        let name = self.generate(&op.id);
        let node = self.from(op)?;
        let node = self.known(op, node)?;
        let is_filtered = self.is_filtered(&op.id);
        let updates = is_filtered.then(|| self.updates_of(op, node.clone())).transpose()?;
        let node = match node {
            CaseNode::Table(table) => {
                CaseNode::Table(table.suppress(suppress.codec(ValCodec), &name))
            }
            CaseNode::WindowTable(table) => {
                CaseNode::WindowTable(table.suppress(suppress.codec(ValCodec), &name))
            }
            other => other,
        };
        if let Some(updates) = updates {
            self.with_update_before(op, updates, node.clone())?;
        }
        self.add(op, node)
    }
}

/// Null deletes a row, so a row has a value.
fn table_of_values(name: &str) -> headwater::Table<Key, serde_json::Value> {
    headwater::Table::with(name, crate::key::KeyCodec, headwater::codec::Json)
}

/// Rows in the form of a case's other tables.
fn as_values<'b, K: RowKey>(
    rows: &TableStream<'b, K, serde_json::Value>,
) -> TableStream<'b, K, Val> {
    rows.map_values(|_, value| Some(value))
}
