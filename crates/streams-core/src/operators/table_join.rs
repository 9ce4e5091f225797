//! Join of two tables by key: each change of one side looks the other side up.

use std::sync::Arc;

use super::rows::Rows;
use crate::chain::{Receive, Shared};
use crate::change::Change;
use crate::cx::Cx;
use crate::error::Failure;
use crate::record::{Record, Timestamp};

/// Which keys have a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    /// Those that both have.
    Inner,
    /// Those that the left has.
    Left,
    /// Those that any has.
    Outer,
}

pub(crate) struct TableJoin<K, L, R, O, F> {
    pub(crate) left: Arc<dyn Rows<K, L>>,
    pub(crate) right: Arc<dyn Rows<K, R>>,
    pub(crate) sides: Sides,
    pub(crate) joiner: Arc<F>,
    pub(crate) changes: Shared<K, Change<O>>,
}

/// The left side of a join.
pub(crate) struct LeftChange<J>(pub(crate) Arc<J>);
/// The right side of a join.
pub(crate) struct RightChange<J>(pub(crate) Arc<J>);

impl<K, L, R, O, F> Receive<K, Change<L>> for LeftChange<TableJoin<K, L, R, O, F>>
where
    K: Clone + 'static,
    L: 'static,
    R: 'static,
    O: Clone + 'static,
    F: Fn(&K, Option<&L>, Option<&R>) -> Option<O> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, Change<L>>, cx: &mut Cx) -> Result<(), Failure> {
        let join = &*self.0;
        let right = join.right.get(&record.key, cx)?;
        // Without the other side nothing was there, unless this side alone is a result.
        let alone = join.sides != Sides::Inner;
        let is_needed = right.is_some() || (alone && has_any(&record.value));
        if !is_needed {
            return Ok(());
        }
        let (right, timestamp) = other_side(right, record.timestamp);
        let key = record.key;
        let joined = |left: Option<L>| (join.joiner)(&key, left.as_ref(), right.as_ref());
        let value = Change { old: joined(record.value.old), new: joined(record.value.new) };
        join.changes.receive(Record { key, value, timestamp }, cx)
    }
}

impl<K, L, R, O, F> Receive<K, Change<R>> for RightChange<TableJoin<K, L, R, O, F>>
where
    K: Clone + 'static,
    L: 'static,
    R: 'static,
    O: Clone + 'static,
    F: Fn(&K, Option<&L>, Option<&R>) -> Option<O> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, Change<R>>, cx: &mut Cx) -> Result<(), Failure> {
        let join = &*self.0;
        let left = join.left.get(&record.key, cx)?;
        let alone = join.sides == Sides::Outer;
        let is_needed = left.is_some() || (alone && has_any(&record.value));
        if !is_needed {
            return Ok(());
        }
        let (left, timestamp) = other_side(left, record.timestamp);
        let key = record.key;
        let joined = |right: Option<R>| (join.joiner)(&key, left.as_ref(), right.as_ref());
        let value = Change { old: joined(record.value.old), new: joined(record.value.new) };
        join.changes.receive(Record { key, value, timestamp }, cx)
    }
}

fn has_any<V>(change: &Change<V>) -> bool {
    change.old.is_some() || change.new.is_some()
}

/// The other side's value, and the later of the two timestamps.
fn other_side<V>(row: Option<(V, Timestamp)>, at: Timestamp) -> (Option<V>, Timestamp) {
    match row {
        Some((value, timestamp)) => (Some(value), timestamp.max(at)),
        None => (None, at),
    }
}

/// The rows of a join, computed when asked for.
pub(crate) struct JoinedRows<K, L, R, F> {
    pub(crate) left: Arc<dyn Rows<K, L>>,
    pub(crate) right: Arc<dyn Rows<K, R>>,
    pub(crate) joiner: Arc<F>,
}

impl<K, L, R, O, F> Rows<K, O> for JoinedRows<K, L, R, F>
where
    K: 'static,
    L: 'static,
    R: 'static,
    O: 'static,
    F: Fn(&K, Option<&L>, Option<&R>) -> Option<O> + Send + Sync + 'static,
{
    fn get(&self, key: &K, cx: &mut Cx) -> Result<Option<(O, Timestamp)>, Failure> {
        let left = self.left.get(key, cx)?;
        let right = self.right.get(key, cx)?;
        let times = left.iter().map(|(_, at)| *at).chain(right.iter().map(|(_, at)| *at));
        let timestamp = times.max().unwrap_or(Timestamp::MIN);
        let (left, right) = (left.map(|(value, _)| value), right.map(|(value, _)| value));
        Ok((self.joiner)(key, left.as_ref(), right.as_ref()).map(|value| (value, timestamp)))
    }
}
