//! Join of two tables by key: a change of one side looks up the other side.

use std::sync::Arc;

use super::rows::Rows;
use crate::change::Change;
use crate::error::Failure;
use crate::receive::{Receive, SharedReceiver};
use crate::record::{Record, Timestamp};
use crate::task_context::TaskContext;

/// Which keys have a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    /// Keys that both have.
    Inner,
    /// Keys that the left has.
    Left,
    /// Keys that either has.
    Outer,
}

pub(crate) struct TableJoin<K, L, R, O, F> {
    pub(crate) left: Arc<dyn Rows<K, L>>,
    pub(crate) right: Arc<dyn Rows<K, R>>,
    pub(crate) sides: Sides,
    pub(crate) joiner: Arc<F>,
    pub(crate) changes: SharedReceiver<K, Change<O>>,
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
    fn receive(&self, record: Record<K, Change<L>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let join = &*self.0;
        let right = join.right.get(&record.key, cx)?;
        let alone = join.sides != Sides::Inner;
        let joined = |key: &K, left: Option<&L>, right: Option<&R>| (join.joiner)(key, left, right);
        let change = changed(record, right, alone, joined);
        change.map_or(Ok(()), |change| join.changes.receive(change, cx))
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
    fn receive(&self, record: Record<K, Change<R>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let join = &*self.0;
        let left = join.left.get(&record.key, cx)?;
        let alone = join.sides == Sides::Outer;
        let joined = |key: &K, right: Option<&R>, left: Option<&L>| (join.joiner)(key, left, right);
        let change = changed(record, left, alone, joined);
        change.map_or(Ok(()), |change| join.changes.receive(change, cx))
    }
}

/// Applies a change of one side to the result, given the other side's row. `alone` says whether
/// this side without the other is a result.
fn changed<K, S, T, O>(
    record: Record<K, Change<S>>,
    other: Option<(T, Timestamp)>,
    alone: bool,
    joined: impl Fn(&K, Option<&S>, Option<&T>) -> Option<O>,
) -> Option<Record<K, Change<O>>> {
    let Record { key, value: Change { old, new }, timestamp } = record;
    let is_needed = other.is_some() || (alone && (old.is_some() || new.is_some()));
    if !is_needed {
        return None;
    }
    let (other, timestamp) = match other {
        Some((value, at)) => (Some(value), at.max(timestamp)),
        None => (None, timestamp),
    };
    let joined = |this: Option<S>| joined(&key, this.as_ref(), other.as_ref());
    let value = Change { old: joined(old), new: joined(new) };
    Some(Record { key, value, timestamp })
}

/// The rows of a join, which are computed on demand.
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
    fn get(&self, key: &K, cx: &mut TaskContext) -> Result<Option<(O, Timestamp)>, Failure> {
        let left = self.left.get(key, cx)?;
        let right = self.right.get(key, cx)?;
        let times = left.iter().map(|(_, at)| *at).chain(right.iter().map(|(_, at)| *at));
        let timestamp = times.max().unwrap_or(Timestamp::MIN);
        let left = left.map(|(value, _)| value);
        let right = right.map(|(value, _)| value);
        Ok((self.joiner)(key, left.as_ref(), right.as_ref()).map(|value| (value, timestamp)))
    }
}
