//! Groupings and what is aggregated from them.

use std::sync::Arc;

use headwater::Table;
use headwater::codec::Codec;
use headwater::operators::SharedReceiver;
use headwater::streams::{Aggregated, Cogrouped, Repartition};
use headwater::tables::TableGrouped;
use headwater::windows::{Unmerged, Windows};
use headwater::windows::{WindowAggregated, WindowGrouped};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sinks::has_key;
use super::sources::table;
use super::windows::{AnyWindows, WindowShape};
use super::{AnyStream, Build, CaseNode, CaseTable};
use crate::case::{CaseError, Op};
use crate::functions::{Aggregator, KeyFunction, ValueFunction};
use crate::key::{Key, KeyCodec, RowKey, Val, ValCodec, val};

/// What a grouping groups.
#[derive(Clone)]
pub(crate) enum Grouping<'b> {
    /// A stream by its keys, which are in the right partitions.
    Stream(AnyStream<'b>),
    /// A table by new keys and values.
    Table(Box<CaseNode<'b>>, KeyFunction, Option<ValueFunction>),
}

/// One of the streams of a `cogroup`.
#[derive(Deserialize)]
struct CogroupInput {
    from: String,
    agg: Aggregator,
}

impl<'b> Build<'b> {
    pub(super) fn group(&mut self, op: &Op) -> Result<(), CaseError> {
        let node = self.from(op)?;
        let group = match node {
            CaseNode::Stream(flow) if op.op == "group_by_key" => {
                let stream = self.settled(&op.id, flow).filter(has_key).shared();
                Grouping::Stream(stream)
            }
            CaseNode::Stream(flow) => {
                let key: KeyFunction = op.get("key")?;
                let keyed = flow.stream.select_key(move |old, value| key.apply(old, value));
                Grouping::Stream(self.spread(&op.id, keyed.shared()).stream)
            }
            node => {
                let node = self.known(op, node)?;
                Grouping::Table(Box::new(node), op.get("key")?, op.get("value")?)
            }
        };
        self.add(op, CaseNode::Group(group))
    }

    fn grouped(&self, op: &Op, name: &str) -> Result<Grouping<'b>, CaseError> {
        match self.node(op, name)? {
            CaseNode::Group(group) => Ok(group),
            _ => Err(CaseError::at(&op.id, format!("{name} is no grouping"))),
        }
    }

    pub(super) fn aggregate(&mut self, op: &Op) -> Result<(), CaseError> {
        let group = self.grouped(op, &op.get::<String>("from")?)?;
        match group {
            Grouping::Table(node, key, value) => self.aggregate_table(op, *node, key, value),
            Grouping::Stream(stream) => match op.get::<Option<WindowShape>>("window")? {
                None => self.aggregate_stream(op, stream),
                Some(shape) => {
                    let windows = shape.windows(op.get("retention_ms")?);
                    self.aggregate_windows(op, stream, windows)
                }
            },
        }
    }

    fn aggregate_stream(&mut self, op: &Op, stream: AnyStream<'b>) -> Result<(), CaseError> {
        let name = self.store_name(op)?;
        // Kafka Streams ignores null values here.
        let grouped = stream.filter(|_, value| value.is_some()).group_by_key();
        if op.op == "count" {
            let counts = grouped.count(&counts_table(&name));
            return self.add_counts(op, name, counts);
        }
        let rows = table(&name);
        let aggregated = match Growth::of(op)? {
            Growth::Reduce(agg) => grouped.reduce(&rows, move |sum, value| agg.reduce(sum, value)),
            Growth::Aggregate(agg, init) => grouped.aggregate(
                &rows,
                move || init.clone(),
                move |sum, _, value| *sum = agg.add(sum.take(), &value),
            ),
        };
        self.add_values(op, name, aggregated)
    }

    fn add_counts(
        &mut self,
        op: &Op,
        name: String,
        counts: Aggregated<'b, Key, u64>,
    ) -> Result<(), CaseError> {
        self.stores.insert(name.clone(), CaseTable::Counts(counts_table(&name)));
        let counts = counts.into_table().map_values(|_, count| Some(json!(count)));
        self.add(op, CaseNode::Table(counts))
    }

    fn add_values(
        &mut self,
        op: &Op,
        name: String,
        values: Aggregated<'b, Key, Val>,
    ) -> Result<(), CaseError> {
        self.stores.insert(name.clone(), CaseTable::Values(table(&name)));
        self.add(op, CaseNode::Table(values.into_table()))
    }

    fn aggregate_table(
        &mut self,
        op: &Op,
        node: CaseNode<'b>,
        key: KeyFunction,
        value: Option<ValueFunction>,
    ) -> Result<(), CaseError> {
        let name = self.store_name(op)?;
        let spread = self.generate(&op.id);
        let row = move |old: &Key, row: &Val| {
            let new = value.as_ref().map_or_else(|| row.clone(), |v| v.apply(old, row.clone()));
            (key.apply(old, row), new)
        };
        let grouped: TableGrouped<'b, Key, Val> = match node {
            CaseNode::Table(rows) => {
                rows.group_by(Repartition::new(&spread, KeyCodec, ValCodec), row)
            }
            CaseNode::WindowTable(rows) => {
                let row = move |key: &headwater::windows::Windowed<Key>, value: &Val| {
                    row(&key.to_key(), value)
                };
                rows.group_by(Repartition::new(&spread, KeyCodec, ValCodec), row)
            }
            _ => return Err(CaseError::at(&op.id, "it groups no table")),
        };
        if op.op == "count" {
            let counts = grouped.count(&counts_table(&name));
            return self.add_counts(op, name, counts);
        }
        let rows = table(&name);
        let subtract: Aggregator = op.get("subtract")?;
        let aggregated = match Growth::of(op)? {
            Growth::Reduce(agg) => grouped.reduce(
                &rows,
                move |sum, value| agg.reduce(sum, value),
                move |sum, value| subtract.reduce(sum, value),
            ),
            Growth::Aggregate(agg, init) => grouped.aggregate(
                &rows,
                move || init.clone(),
                move |sum, _, value| *sum = agg.add(sum.take(), &value),
                move |sum, _, value| *sum = subtract.add(sum.take(), &value),
            ),
        };
        self.add_values(op, name, aggregated)
    }

    fn aggregate_windows(
        &mut self,
        op: &Op,
        stream: AnyStream<'b>,
        windows: AnyWindows,
    ) -> Result<(), CaseError> {
        match windows {
            AnyWindows::Tumbling(kind) => self.unmerged(op, stream, kind, windows),
            AnyWindows::Hopping(kind) => self.unmerged(op, stream, kind, windows),
            // Kafka Streams ignores null values here.
            AnyWindows::Sliding(kind) => {
                let stream = stream.filter(|_, value| value.is_some()).shared();
                self.unmerged(op, stream, kind, windows)
            }
            AnyWindows::Session(kind) => self.merged(op, stream, kind, windows),
        }
    }

    fn unmerged<W: Windows + Unmerged + Clone>(
        &mut self,
        op: &Op,
        stream: AnyStream<'b>,
        kind: W,
        windows: AnyWindows,
    ) -> Result<(), CaseError> {
        let name = self.store_name(op)?;
        let grouped = stream.group_by_key().window(kind);
        if op.op == "count" {
            return self.window_counts(op, name, grouped, windows);
        }
        let rows = table(&name);
        let aggregated = match Growth::of(op)? {
            Growth::Reduce(agg) => grouped.reduce(&rows, move |sum, value| agg.reduce(sum, value)),
            Growth::Aggregate(agg, init) => grouped.aggregate(
                &rows,
                move || init.clone(),
                move |sum, _, value| *sum = agg.add(sum.take(), &value),
            ),
        };
        self.window_values(op, name, aggregated, windows)
    }

    fn merged<W: Windows + Clone>(
        &mut self,
        op: &Op,
        stream: AnyStream<'b>,
        kind: W,
        windows: AnyWindows,
    ) -> Result<(), CaseError> {
        let name = self.store_name(op)?;
        let grouped = stream.group_by_key().window(kind);
        if op.op == "count" {
            return self.window_counts(op, name, grouped, windows);
        }
        let rows = table(&name);
        let aggregated = match Growth::of(op)? {
            Growth::Reduce(agg) => grouped.reduce(&rows, move |sum, value| agg.reduce(sum, value)),
            Growth::Aggregate(agg, init) => {
                let agg = Arc::new(agg);
                let merge = Arc::clone(&agg);
                grouped.aggregate_merging(
                    &rows,
                    move || init.clone(),
                    move |sum, _, value| *sum = agg.add(sum.take(), &value),
                    move |_, first, second| merge.merge(first, second),
                )
            }
        };
        self.window_values(op, name, aggregated, windows)
    }

    fn window_counts<W: Windows + Clone>(
        &mut self,
        op: &Op,
        name: String,
        grouped: WindowGrouped<'b, Key, Val, SharedReceiver<Key, Val>, W>,
        windows: AnyWindows,
    ) -> Result<(), CaseError> {
        let rows = counts_table(&name);
        let counts = grouped.count(&rows);
        self.stores.insert(name, CaseTable::WindowCounts(rows, windows));
        if closes(op)? {
            let closed = counts.closed();
            let closed = closed.map(|key, count| (key.to_key(), Some(json!(count))));
            return self.add_final(op, closed.shared());
        }
        let counts = counts.into_table().map_values(|_, count| Some(json!(count)));
        self.add(op, CaseNode::WindowTable(counts))
    }

    fn window_values<W: Windows + Clone>(
        &mut self,
        op: &Op,
        name: String,
        aggregated: WindowAggregated<'b, Key, Val, W>,
        windows: AnyWindows,
    ) -> Result<(), CaseError> {
        self.stores.insert(name.clone(), CaseTable::Windows(table(&name), windows));
        if closes(op)? {
            let closed = aggregated.closed().map(|key, value| (key.to_key(), value));
            return self.add_final(op, closed.shared());
        }
        self.add(op, CaseNode::WindowTable(aggregated.into_table()))
    }

    /// Final results: each window's only change.
    fn add_final(&mut self, op: &Op, stream: AnyStream<'b>) -> Result<(), CaseError> {
        self.add(op, CaseNode::Changes(super::Flow { stream, rekeyed: true }))
    }

    pub(super) fn cogroup(&mut self, op: &Op) -> Result<(), CaseError> {
        let inputs: Vec<CogroupInput> = op.get("streams")?;
        let init: Value = op.get("init")?;
        let name = self.store_name(op)?;
        let shape = op.get::<Option<WindowShape>>("window")?;
        let windows = match shape {
            Some(shape) => Some(shape.windows(op.get("retention_ms")?)),
            None => None,
        };
        let ignores_null = matches!(windows, None | Some(AnyWindows::Sliding(_)));
        let merge = inputs.first().map(|input| input.agg.clone());
        let mut cogrouped: Option<Cogrouped<'b, Key, Val>> = None;
        for CogroupInput { from, agg } in inputs {
            let Grouping::Stream(stream) = self.grouped(op, &from)? else {
                return Err(CaseError::at(&op.id, format!("{from} is no grouped stream")));
            };
            let stream = stream.filter(move |_, value| value.is_some() || !ignores_null);
            let grouped = stream.group_by_key();
            let add = move |sum: &mut Val, _: &Key, value: Val| *sum = agg.add(sum.take(), &value);
            cogrouped = Some(match cogrouped {
                None => grouped.cogroup(add),
                Some(others) => others.with(grouped, add),
            });
        }
        let (Some(cogrouped), Some(merge)) = (cogrouped, merge) else {
            return Err(CaseError::at(&op.id, "it cogroups nothing"));
        };
        let rows = table(&name);
        let init = val(Some(init));
        let init = move || init.clone();
        let merge = move |_: &Key, first, second| merge.merge(first, second);
        macro_rules! windowed {
            ($kind:expr, $windows:expr) => {{
                let aggregated = cogrouped.window($kind).aggregate_merging(&rows, init, merge);
                self.window_values(op, name, aggregated, $windows)
            }};
        }
        match windows {
            None => {
                let aggregated = cogrouped.aggregate(&rows, init);
                self.add_values(op, name, aggregated)
            }
            Some(all @ AnyWindows::Tumbling(kind)) => windowed!(kind, all),
            Some(all @ AnyWindows::Hopping(kind)) => windowed!(kind, all),
            Some(all @ AnyWindows::Sliding(kind)) => windowed!(kind, all),
            Some(all @ AnyWindows::Session(kind)) => windowed!(kind, all),
        }
    }
}

/// How an aggregate grows.
enum Growth {
    Reduce(Aggregator),
    Aggregate(Aggregator, Val),
}

impl Growth {
    fn of(op: &Op) -> Result<Self, CaseError> {
        let agg = op.get("agg")?;
        if op.op == "reduce" {
            return Ok(Self::Reduce(agg));
        }
        Ok(Self::Aggregate(agg, val(op.get("init")?)))
    }
}

fn closes(op: &Op) -> Result<bool, CaseError> {
    match op.get::<Option<String>>("emit")?.as_deref() {
        None | Some("on_update") => Ok(false),
        Some("on_close") => Ok(true),
        Some(other) => Err(CaseError::at(&op.id, format!("emit {other} is not known"))),
    }
}

fn counts_table(name: &str) -> Table<Key, u64> {
    fn codec() -> impl Codec<u64> {
        headwater::codec::Text
    }
    Table::with(name, KeyCodec, codec())
}
