//! What can be said about groups of records with the same key, without windows.

use std::sync::Arc;

use super::{Stream, WindowGrouped};
use crate::builder::{Builder, NodeId};
use crate::chain::{Chain, Port};
use crate::changelog::Layout;
use crate::error::{BoxError, Cause, Failure};
use crate::operators::{Aggregate, Aggregation};
use crate::table::Table;
use crate::topic::Topic;
use crate::window::TimeWindows;

/// Records grouped by key; see [`Stream::group_by_key`] and [`Stream::group_by`].
#[must_use = "a grouping does nothing until it is counted, reduced or aggregated"]
pub struct Grouped<'b, K, V, C> {
    pub(crate) stream: Stream<'b, K, V, C>,
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Grouped<'b, K, V, C> {
    /// Counts the records of each key.
    pub fn count(self, table: &Table<K, u64>) -> Aggregated<'b, K, u64> {
        self.aggregate_into("count", table, count)
    }

    /// Combines the values of each key; the first value stands for itself.
    pub fn reduce(
        self,
        table: &Table<K, V>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Aggregated<'b, K, V> {
        self.aggregate_into("reduce", table, reduce(combine))
    }

    /// Aggregates the values of each key: `init` makes an empty aggregate, `add` adds a value to
    /// it.
    pub fn aggregate<A: 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A> {
        self.aggregate_into("aggregate", table, aggregate(init, add))
    }

    /// [`aggregate`](Grouped::aggregate) with a function that may fail.
    pub fn try_aggregate<A: 'static, E: Into<BoxError> + 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A> {
        self.aggregate_into("try_aggregate", table, try_aggregate(init, add))
    }

    /// Parts each group by time.
    pub fn window<W: TimeWindows>(self, windows: W) -> WindowGrouped<'b, K, V, C, W> {
        WindowGrouped { stream: self.stream, windows }
    }

    fn aggregate_into<A: 'static>(
        self,
        name: &'static str,
        table: &Table<K, A>,
        aggregation: impl Aggregation<K, V, A>,
    ) -> Aggregated<'b, K, A> {
        let (builder, stream) = (self.stream.builder, self.stream);
        let node = stream.add_node(name);
        let index =
            builder.graph(|graph| graph.add_table(&table.name, Layout::KeyValue, name, node));
        let (updates, latest) = (Port::new(), Port::new());
        let operator = Arc::new(Aggregate {
            table: table.clone(),
            index,
            aggregation,
            updates: updates.clone(),
            latest: latest.clone(),
        });
        builder.graph(|graph| graph.add_hook(node, Arc::clone(&operator) as _));
        stream.chain.connect(operator, builder);
        Aggregated { builder, node, updates, latest }
    }
}

/// A table that grows with each record; what it sends is chosen here. The table is kept even if
/// nothing is sent.
pub struct Aggregated<'b, K, A> {
    builder: &'b Builder,
    node: NodeId,
    updates: Port<K, A>,
    latest: Port<K, A>,
}

impl<'b, K: 'static, A: 'static> Aggregated<'b, K, A> {
    /// Every change: one record out for each record in.
    pub fn updates(self) -> Stream<'b, K, A, Port<K, A>> {
        Stream::new(self.builder, self.updates, self.node)
    }

    /// The last value of each key that changed, once per commit: fewer records where keys repeat,
    /// at the price of waiting for the commit. (Kafka Streams does this with its record cache.)
    /// Outputs carry no headers.
    pub fn latest(self) -> Stream<'b, K, A, Port<K, A>> {
        Stream::new(self.builder, self.latest, self.node)
    }

    /// Sends every change to `topic`: short for `updates().to(topic)`.
    pub fn to(self, topic: &Topic<K, A>) {
        self.updates().to(topic);
    }
}

pub(crate) fn count<K, V>(count: Option<u64>, _: &K, _: V) -> Result<u64, Failure> {
    Ok(count.unwrap_or(0).saturating_add(1))
}

pub(crate) fn reduce<K: 'static, V: 'static>(
    combine: impl Fn(V, V) -> V + Send + Sync + 'static,
) -> impl Aggregation<K, V, V> {
    move |old: Option<V>, _: &K, value| {
        Ok(match old {
            Some(old) => combine(old, value),
            None => value,
        })
    }
}

pub(crate) fn aggregate<K: 'static, V: 'static, A: 'static>(
    init: impl Fn() -> A + Send + Sync + 'static,
    add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
) -> impl Aggregation<K, V, A> {
    move |old: Option<A>, key: &K, value| {
        let mut aggregate = old.unwrap_or_else(&init);
        add(&mut aggregate, key, value);
        Ok(aggregate)
    }
}

pub(crate) fn try_aggregate<K: 'static, V: 'static, A: 'static, E: Into<BoxError> + 'static>(
    init: impl Fn() -> A + Send + Sync + 'static,
    add: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
) -> impl Aggregation<K, V, A> {
    move |old: Option<A>, key: &K, value| {
        let mut aggregate = old.unwrap_or_else(&init);
        add(&mut aggregate, key, value).map_err(|error| {
            Failure::new(Cause::User { operator: "try_aggregate".into(), source: error.into() })
        })?;
        Ok(aggregate)
    }
}
