//! Operators on streams.

use std::sync::{Arc, PoisonError};

use serde::Deserialize;

use headwater::streams::Repartition;

use super::sinks::has_key;
use super::{AnyStream, Build, CaseNode, Flow};
use crate::case::{CaseError, Op};
use crate::functions::{Flat, KeyFunction, Predicate, ValueFunction};
use crate::key::{KeyCodec, ValCodec};

/// One way of a `split`.
#[derive(Deserialize)]
struct SplitBranch {
    name: String,
    pred: Predicate,
}

impl<'b> Build<'b> {
    pub(super) fn filter(&mut self, op: &Op) -> Result<(), CaseError> {
        let predicate: Predicate = op.get("pred")?;
        let wanted: bool = op.op == "filter";
        match self.from(op)? {
            CaseNode::Stream(Flow { stream, rekeyed }) => {
                let test = move |key: &_, value: &_| predicate.apply(key, value) == wanted;
                self.add_stream(&op.id, stream.filter(test), rekeyed)
            }
            node => self.filter_table(op, node, predicate, wanted),
        }
    }

    pub(super) fn map_values(&mut self, op: &Op) -> Result<(), CaseError> {
        let function: ValueFunction = op.get("value")?;
        match self.from(op)? {
            CaseNode::Stream(Flow { stream, rekeyed }) => {
                let map = move |key: &_, value| function.apply(key, value);
                self.add_stream(&op.id, stream.map_values_with_key(map), rekeyed)
            }
            node => self.map_table(op, node, function),
        }
    }

    pub(super) fn map(&mut self, op: &Op) -> Result<(), CaseError> {
        let Flow { stream, .. } = self.flow(op, &op.get::<String>("from")?)?;
        let new_key: Option<KeyFunction> = op.get("key")?;
        let new_value: Option<ValueFunction> = op.get("value")?;
        let mapped = stream.map(move |key, value| {
            let to = new_key.as_ref().map_or_else(|| key.clone(), |new| new.apply(&key, &value));
            let value = match &new_value {
                Some(new) => new.apply(&key, value),
                None => value,
            };
            (to, value)
        });
        self.add_stream(&op.id, mapped, true)
    }

    pub(super) fn flat_map(&mut self, op: &Op) -> Result<(), CaseError> {
        let Flow { stream, rekeyed } = self.flow(op, &op.get::<String>("from")?)?;
        let flat: Flat = op.get("flat")?;
        if op.op == "flat_map_values" {
            let values = stream.map_values_with_key(move |key, value| flat.apply(key, &value));
            let flat = values
                .flat_map_values(|all| all.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
            return self.add_stream(&op.id, flat, rekeyed);
        }
        let flat = stream.flat_map(move |key, value| flat.apply(&key, &value));
        self.add_stream(&op.id, flat, true)
    }

    pub(super) fn split(&mut self, op: &Op) -> Result<(), CaseError> {
        let Flow { stream, rekeyed } = self.flow(op, &op.get::<String>("from")?)?;
        let branches: Vec<SplitBranch> = op.get("branches")?;
        let mut rest: AnyStream<'b> = stream;
        for SplitBranch { name, pred } in branches {
            let (matching, others) = rest.branch(move |key, value| pred.apply(key, value));
            self.add_stream(&format!("{}.{name}", op.id), matching, rekeyed)?;
            rest = others.shared();
        }
        if let Some(default) = op.get::<Option<String>>("default")? {
            self.add_stream(&format!("{}.{default}", op.id), rest, rekeyed)?;
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, op: &Op) -> Result<(), CaseError> {
        let names: Vec<String> = op.get("from")?;
        let mut merged: Option<Flow<'b>> = None;
        for name in names {
            let Flow { stream, rekeyed } = self.flow(op, &name)?;
            merged = Some(match merged {
                None => Flow { stream, rekeyed },
                Some(other) => Flow {
                    stream: other.stream.merge(stream).shared(),
                    rekeyed: other.rekeyed || rekeyed,
                },
            });
        }
        let flow = merged.ok_or_else(|| CaseError::at(&op.id, "it merges nothing"))?;
        self.add(op, CaseNode::Stream(flow))
    }

    pub(super) fn peek(&mut self, op: &Op) -> Result<(), CaseError> {
        let Flow { stream, rekeyed } = self.flow(op, &op.get::<String>("from")?)?;
        let seen = Arc::clone(&self.peeked);
        let name = op.id.clone();
        let peeked = stream.peek(move |key, value| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((name.clone(), key.clone(), value.clone()));
        });
        self.add_stream(&op.id, peeked, rekeyed)
    }

    pub(super) fn repartition(&mut self, op: &Op) -> Result<(), CaseError> {
        let flow = self.flow(op, &op.get::<String>("from")?)?;
        let flow = self.spread(&op.id, flow.stream);
        self.add(op, CaseNode::Stream(flow))
    }

    /// Sends records through a repartition topic; drops those without a key, as Kafka Streams does.
    pub(super) fn spread(&mut self, id: &str, stream: AnyStream<'b>) -> Flow<'b> {
        self.spread_all(id, stream.filter(has_key).shared())
    }

    fn spread_all(&mut self, id: &str, stream: AnyStream<'b>) -> Flow<'b> {
        let name = self.generate(id);
        let spread = stream.repartition(Repartition::new(&name, KeyCodec, ValCodec));
        Flow { stream: spread.shared(), rekeyed: false }
    }

    /// The stream with equal keys in one partition.
    pub(super) fn settled(&mut self, id: &str, flow: Flow<'b>) -> AnyStream<'b> {
        if flow.rekeyed { self.spread(id, flow.stream).stream } else { flow.stream }
    }

    /// The same for the side of a join whose unmatched records come out too, including those
    /// without a key.
    pub(super) fn settled_all(&mut self, id: &str, flow: Flow<'b>) -> AnyStream<'b> {
        if flow.rekeyed { self.spread_all(id, flow.stream).stream } else { flow.stream }
    }
}
