//! Joins.

use std::time::Duration;

use headwater::joins::{JoinBuffers, JoinWindows};
use headwater::tables::TableStream;
use serde::Deserialize;

use super::sources::table;
use super::{AnyStream, Build, CaseNode, CaseTable, Flow};
use crate::case::{CaseError, Op};
use crate::functions::{Joiner, KeyFunction};
use crate::key::{Key, KeyCodec, RowKey, Val, ValCodec};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JoinKind {
    Inner,
    Left,
    Outer,
}

#[derive(Deserialize)]
struct JoinWindow {
    before_ms: u64,
    after_ms: u64,
    #[serde(default)]
    grace_ms: u64,
}

impl<'b> Build<'b> {
    pub(super) fn join(&mut self, op: &Op) -> Result<(), CaseError> {
        let left: String = op.get("left")?;
        let right: String = op.get("right")?;
        match (self.node(op, &left)?, self.node(op, &right)?) {
            (CaseNode::Stream(left), CaseNode::Stream(right)) => self.join_streams(op, left, right),
            (CaseNode::Stream(left), CaseNode::Global(right)) => {
                let Flow { stream, rekeyed } = left;
                let stream = stream.filter(|_, value| value.is_some());
                let key: KeyFunction = op.get("key")?;
                let joiner: Joiner = op.get("joiner")?;
                let key = move |own: &Key, value: &Val| key.apply(own, value);
                let joined = match op.get("kind")? {
                    JoinKind::Inner => {
                        let join = move |_: &Key, l: &Val, r: &Val| joiner.apply(Some(l), Some(r));
                        stream.join_global(&right, key, join).shared()
                    }
                    _ => {
                        let join =
                            move |_: &Key, l: &Val, r: Option<&Val>| joiner.apply(Some(l), r);
                        stream.left_join_global(&right, key, join).shared()
                    }
                };
                self.add_stream(&op.id, joined, rekeyed)
            }
            (CaseNode::Stream(left), right) => {
                let CaseNode::Table(right) = self.known(op, right)? else {
                    return Err(CaseError::at(&op.id, "a stream and a windowed table"));
                };
                self.join_stream_table(op, left, &right)
            }
            (left, right) => match (self.known(op, left)?, self.known(op, right)?) {
                (CaseNode::Table(left), CaseNode::Table(right)) => {
                    let joined = join_tables(op, &left, &right)?;
                    self.add_kept(op, CaseNode::Table(joined))
                }
                (CaseNode::WindowTable(left), CaseNode::WindowTable(right)) => {
                    let joined = join_tables(op, &left, &right)?;
                    self.add(op, CaseNode::WindowTable(joined))
                }
                _ => Err(CaseError::at(&op.id, "a windowed table and one without windows")),
            },
        }
    }

    fn join_streams(&mut self, op: &Op, left: Flow<'b>, right: Flow<'b>) -> Result<(), CaseError> {
        let kind: JoinKind = op.get("kind")?;
        let joiner: Joiner = op.get("joiner")?;
        let window: JoinWindow = op.get("window")?;
        let ms = Duration::from_millis;
        let windows = JoinWindows::of(ms(window.before_ms), ms(window.after_ms));
        let windows = windows.grace(ms(window.grace_ms));
        let name = self.generate(&op.id);
        let buffers = JoinBuffers::with(name, KeyCodec, ValCodec, ValCodec);
        let left = self.settled_side(op, left, kind != JoinKind::Inner);
        let right = self.settled_side(op, right, kind == JoinKind::Outer);
        let joined = match kind {
            JoinKind::Inner => {
                let join = move |_: &Key, l: &Val, r: &Val| joiner.apply(Some(l), Some(r));
                left.join(right, windows, &buffers, join)
            }
            JoinKind::Left => {
                let join = move |_: &Key, l: &Val, r: Option<&Val>| joiner.apply(Some(l), r);
                left.left_join(right, windows, &buffers, join)
            }
            JoinKind::Outer => {
                let join = move |_: &Key, l: Option<&Val>, r: Option<&Val>| joiner.apply(l, r);
                left.outer_join(right, windows, &buffers, join)
            }
        };
        self.add_stream(&op.id, joined, false)
    }

    /// One side of a join. If it is `alone`, its records without key come out too.
    fn settled_side(&mut self, op: &Op, side: Flow<'b>, alone: bool) -> AnyStream<'b> {
        if alone { self.settled_all(&op.id, side) } else { self.settled(&op.id, side) }
    }

    fn join_stream_table(
        &mut self,
        op: &Op,
        left: Flow<'b>,
        right: &TableStream<'b, Key, Val>,
    ) -> Result<(), CaseError> {
        let kind: JoinKind = op.get("kind")?;
        let joiner: Joiner = op.get("joiner")?;
        // Kafka Streams drops records without value here.
        let stream = self.settled_side(op, left, kind != JoinKind::Inner);
        let stream = stream.filter(|_, value| value.is_some());
        let joined = if kind == JoinKind::Inner {
            let join = move |_: &Key, l: &Val, r: &Val| joiner.apply(Some(l), Some(r));
            stream.join_table(right, join).shared()
        } else {
            let join = move |_: &Key, l: &Val, r: Option<&Val>| joiner.apply(Some(l), r);
            stream.left_join_table(right, join).shared()
        };
        self.add_stream(&op.id, joined, false)
    }

    pub(super) fn fk_join(&mut self, op: &Op) -> Result<(), CaseError> {
        let left: String = op.get("left")?;
        let right: String = op.get("right")?;
        let left = self.node(op, &left)?;
        let right = self.node(op, &right)?;
        let (CaseNode::Table(left), CaseNode::Table(right)) =
            (self.known(op, left)?, self.known(op, right)?)
        else {
            return Err(CaseError::at(&op.id, "a foreign-key join is of tables without windows"));
        };
        let kind: JoinKind = op.get("kind")?;
        let joiner: Joiner = op.get("joiner")?;
        let foreign: KeyFunction = op.get("fk")?;
        let foreign =
            move |key: &Key, row: &Val| Some(foreign.apply(key, row)).filter(|key| !key.is_null());
        let name = self.store_name(op)?;
        self.stores.insert(name.clone(), CaseTable::Values(table(&name)));
        let result = table(&name);
        let joined = if kind == JoinKind::Inner {
            let join = move |_: &Key, l: &Val, r: &Val| joiner.apply(Some(l), Some(r));
            left.fk_join(right.sent_as(ValCodec), &result, foreign, join)
        } else {
            let join = move |_: &Key, l: &Val, r: Option<&Val>| joiner.apply(Some(l), r);
            left.fk_left_join(right.sent_as(ValCodec), &result, foreign, join)
        };
        if self.plan.knows_old(&op.id) {
            return self.add(op, CaseNode::Table(joined));
        }
        let stream = self.as_stream(&op.id, CaseNode::Table(joined))?;
        self.add(op, CaseNode::Changes(Flow { stream, rekeyed: false }))
    }
}

fn join_tables<'b, K: RowKey>(
    op: &Op,
    left: &TableStream<'b, K, Val>,
    right: &TableStream<'b, K, Val>,
) -> Result<TableStream<'b, K, Val>, CaseError> {
    let joiner: Joiner = op.get("joiner")?;
    let joined = match op.get("kind")? {
        JoinKind::Inner => left.join(right, move |_, l, r| joiner.apply(Some(l), Some(r))),
        JoinKind::Left => left.left_join(right, move |_, l, r| joiner.apply(Some(l), r)),
        JoinKind::Outer => left.outer_join(right, move |_, l, r| joiner.apply(l, r)),
    };
    // A null result is not a row.
    Ok(joined.filter_map(|_, value: Val| value.map(Some)))
}
