//! Filters after `suppress`.
//!
//! Kafka Streams uses the previous update as a row's former value, even if `suppress` held that
//! update back. A filter after it then sends a tombstone for a row that never passed. Headwater
//! uses the former output. To compare the cases, a processor beside the `suppress` remembers the
//! updates, and adds the previous update to each row that comes out.

use headwater::codec::Json;
use headwater::operators::SharedReceiver;
use headwater::streams::Process;
use headwater::{Record, Table};
use serde_json::{Value, json};

use super::{AnyStream, Build, CaseNode, Flow};
use crate::case::{CaseError, Op};
use crate::functions::Predicate;
use crate::key::{Key, KeyCodec, Rec, Val, val};

/// The previous and the last update of each key.
type Updates = Table<Key, (Value, Value)>;

impl<'b> Build<'b> {
    /// Whether the results of a `suppress` are filtered.
    pub(super) fn is_filtered(&self, id: &str) -> bool {
        let behind = |op: &&Op| op.members.get("from").and_then(Value::as_str) == Some(id);
        self.ops.iter().filter(behind).any(|op| match op.op.as_str() {
            "filter" | "filter_not" => true,
            "map_values" => self.is_filtered(&op.id),
            _ => false,
        })
    }

    /// Before a `suppress`: its table's updates.
    pub(super) fn updates_of(
        &self,
        op: &Op,
        table: CaseNode<'b>,
    ) -> Result<AnyStream<'b>, CaseError> {
        let updates = self.as_stream(&op.id, table)?;
        Ok(updates.map_values(|value| Some(json!({ "update": value }))).shared())
    }

    /// After it: each row that comes out, with the update before its last.
    pub(super) fn with_update_before(
        &mut self,
        op: &Op,
        updates: AnyStream<'b>,
        table: CaseNode<'b>,
    ) -> Result<(), CaseError> {
        let rows = self.as_stream(&op.id, table)?;
        let rows = rows.map_values(|value| Some(json!({ "row": value })));
        let name = self.generate(&op.id);
        let process = self.generate(&op.id);
        let seen = Updates::with(name.as_str(), KeyCodec, Json);
        let process: Process<'b, Key, Val, SharedReceiver<Key, Val>, Key, Val> =
            updates.merge(rows).shared().process(&process).table(&seen);
        let pairs = process.each(move |record: Rec, context| {
            let message = record.value.unwrap_or_default();
            let mut seen = context.table(&seen)?;
            let (before, last) = seen.get(&record.key)?.unwrap_or_default();
            if let Some(update) = message.get("update") {
                return seen.put(&record.key, &(last, update.clone()));
            }
            let pair = Some(json!([message["row"], before]));
            context.forward(Record::new(record.key, pair, record.timestamp))
        });
        self.pairs.insert(op.id.clone(), pairs.shared());
        Ok(())
    }

    /// An operator's input, if it came out of a `suppress`.
    pub(super) fn pairs_of(&self, op: &Op) -> Result<Option<AnyStream<'b>>, CaseError> {
        Ok(self.pairs.get(&op.get::<String>("from")?).cloned())
    }

    /// `map_values` on rows that came out of a `suppress`.
    pub(super) fn map_pairs(
        &mut self,
        op: &Op,
        pairs: AnyStream<'b>,
        map: impl Fn(&Key, Val) -> Val + Send + Sync + 'static,
    ) {
        let mapped = pairs.map_values_with_key(move |key, pair| {
            let side = |index| map(key, at(&pair, index));
            Some(json!([side(0), side(1)]))
        });
        self.pairs.insert(op.id.clone(), mapped.shared());
    }

    /// A filter on rows that came out of a `suppress`.
    pub(super) fn filter_pairs(
        &mut self,
        op: &Op,
        pairs: AnyStream<'b>,
        predicate: Predicate,
        wanted: bool,
    ) -> Result<(), CaseError> {
        let passing = move |key: &Key, pair: Val| {
            let side = |index| {
                at(&pair, index)
                    .filter(|value| predicate.apply(key, &Some(value.clone())) == wanted)
            };
            json!([side(0), side(1)])
        };
        let filtered = pairs.map_values_with_key(move |key, pair| Some(passing(key, pair)));
        let filtered = filtered.filter(|_, pair| *pair != Some(json!([null, null]))).shared();
        self.pairs.insert(op.id.clone(), filtered.clone());
        let rows = filtered.map_values(|pair| at(&pair, 0));
        self.add(op, CaseNode::Changes(Flow { stream: rows.shared(), rekeyed: true }))
    }
}

/// The row (0) or the update before its last (1).
fn at(pair: &Val, index: usize) -> Val {
    val(pair.as_ref().and_then(|pair| pair.get(index).cloned()))
}
