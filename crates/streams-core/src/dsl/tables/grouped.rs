//! Tables grouped by another key: groups from which rows can also be removed.

use std::sync::Arc;

use super::TableStream;
use crate::chain::Chain;
use crate::change::Change;
use crate::codec::Changed;
use crate::consumed::Consumed;
use crate::dsl::{Aggregated, SourceChain, Stream};
use crate::error::Failure;
use crate::operators::{Aggregation, Regroup};
use crate::repartition::{IntoRepartition, Repartition};
use crate::table::Table;
use crate::topic::Topic;
use crate::topology::SourceKind;

/// Rows grouped by another key; see [`TableStream::group_by`].
#[must_use = "a grouping does nothing until it is counted, reduced or aggregated"]
pub struct TableGrouped<'b, K, V> {
    stream: Stream<'b, K, Change<V>, SourceChain<K, Change<V>>>,
}

impl<'b, K: Clone + 'static, V: Clone + 'static> TableStream<'b, K, V> {
    /// Groups the rows by a new key, with a new value. When a row changes, it is removed from its
    /// old group and added to its new one; if they are the same group, there is one result. The
    /// changes pass through the repartition topic `{application id}-{name}-repartition`, with
    /// values as JSON; a [`Repartition`](crate::Repartition) instead of the name has codecs of your
    /// choice. A row whose new key is null (`None`) is in no group. Nor is a row whose value is
    /// written as null bytes; JSON never does that, but a [`Nullable`](crate::codec::Nullable)
    /// codec may.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let towns = Topic::<u64, String>::new("towns");
    /// let out = Topic::<String, u64>::new("out");
    /// let app = Builder::new("example");
    /// let lives_in = app.table(&towns, &Table::new("lives-in"));
    /// let by_town = lives_in.group_by("by-town", |person, town| (town.clone(), *person));
    /// by_town.count(&Table::new("inhabitants")).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&towns, 7, "Bath".into())?;
    /// test.send(&towns, 8, "Bath".into())?;
    /// test.send(&towns, 7, "York".into())?; // moves
    /// let counts = [("Bath", 1), ("Bath", 2), ("Bath", 1), ("York", 1)];
    /// assert_eq!(test.take(&out)?, counts.map(|(town, n)| (town.to_owned(), n)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group_by<K2: 'static, V2: 'static>(
        &self,
        name: impl IntoRepartition<K2, V2>,
        row: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
    ) -> TableGrouped<'b, K2, V2> {
        let Repartition { name, key, value } = name.into_repartition();
        let builder = self.builder;
        let node = self.add_node("group_by");
        let topic = builder.add_repartition(&name, node);
        let sink = Regroup {
            topic: Arc::clone(&topic),
            key: Arc::clone(&key),
            value: Arc::clone(&value),
            row,
        };
        self.changes.clone().connect(sink, builder);
        let topic = Topic { name: topic, key, value: Arc::new(Changed(value)) };
        let stream = builder.source(Consumed::new(topic), SourceKind::Repartition);
        TableGrouped { stream }
    }
}

impl<'b, K: 'static, V: 'static> TableGrouped<'b, K, V> {
    /// Counts the rows of each group; see [`TableStream::group_by`].
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let towns = Topic::<u64, String>::new("towns");
    /// let app = Builder::new("example");
    /// let lives_in = app.table(&towns, &Table::new("lives-in"));
    /// let inhabitants = Table::new("inhabitants");
    /// lives_in.group_by("by-town", |person, town| (town.clone(), *person)).count(&inhabitants);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&towns, 7, "Bath".into())?;
    /// assert_eq!(test.table(&inhabitants, &"Bath".into())?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(self, table: &Table<K, u64>) -> Aggregated<'b, K, u64> {
        let add = |count: Option<u64>, _: &K, _: V| Some(count.unwrap_or(0).saturating_add(1));
        let subtract = |count: u64, _: &K, _: V| Some(count.saturating_sub(1));
        self.aggregate_into("count", table, groups(table, add, subtract))
    }

    /// Combines the values of each group: `add` adds a value, `subtract` removes one.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let stock = Topic::<String, i64>::new("stock");
    /// let app = Builder::new("example");
    /// let by_shelf = app.table(&stock, &Table::new("stock"));
    /// let all = by_shelf.group_by("all", |_, n| ("all".to_owned(), *n));
    /// let total = Table::<String, i64>::new("total");
    /// all.reduce(&total, |sum, n| sum + n, |sum, n| sum - n);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&stock, "a1".into(), 5)?;
    /// test.send(&stock, "a2".into(), 7)?;
    /// test.send(&stock, "a1".into(), 1)?;
    /// assert_eq!(test.table(&total, &"all".into())?, Some(8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reduce(
        self,
        table: &Table<K, V>,
        add: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Aggregated<'b, K, V> {
        let add = move |sum: Option<V>, _: &K, value| match sum {
            Some(sum) => Some(add(sum, value)),
            None => Some(value),
        };
        let subtract = move |sum, _: &K, value| Some(subtract(sum, value));
        self.aggregate_into("reduce", table, groups(table, add, subtract))
    }

    /// Aggregates the values of each group: `init` creates an empty aggregate, `add` adds a value,
    /// and `subtract` removes one. A group whose aggregate encodes to null is deleted.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let towns = Topic::<u64, String>::new("towns");
    /// let app = Builder::new("example");
    /// let lives_in = app.table(&towns, &Table::new("lives-in"));
    /// let by_town = lives_in.group_by("by-town", |person, town| (town.clone(), *person));
    /// let people = Table::<String, Vec<u64>>::json("people");
    /// let leave = |all: &mut Vec<u64>, _: &String, one| all.retain(|other| *other != one);
    /// by_town.aggregate(&people, Vec::new, |all, _, one| all.push(one), leave);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&towns, 7, "Bath".into())?;
    /// test.send(&towns, 8, "Bath".into())?;
    /// test.send(&towns, 7, "York".into())?;
    /// assert_eq!(test.table(&people, &"Bath".into())?, Some(vec![8]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aggregate<A: 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        subtract: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A> {
        let add = move |group: Option<A>, key: &K, value| {
            let mut group = group.unwrap_or_else(&init);
            add(&mut group, key, value);
            Some(group)
        };
        let subtract = move |mut group, key: &K, value| {
            subtract(&mut group, key, value);
            Some(group)
        };
        self.aggregate_into("aggregate", table, groups(table, add, subtract))
    }

    fn aggregate_into<A: 'static>(
        self,
        name: &'static str,
        table: &Table<K, A>,
        aggregation: impl Aggregation<K, Change<V>, A>,
    ) -> Aggregated<'b, K, A> {
        let node = self.stream.add_node(name);
        let aggregated = Aggregated::declare(self.stream.builder, node, name, table);
        aggregated.connect(self.stream, aggregation);
        aggregated
    }
}

/// Applies a change to a group: removes the old value and adds the new one. If the aggregate
/// becomes null in between, it starts again from empty.
fn groups<K: 'static, V: 'static, A: 'static>(
    table: &Table<K, A>,
    add: impl Fn(Option<A>, &K, V) -> Option<A> + Send + Sync + 'static,
    subtract: impl Fn(A, &K, V) -> Option<A> + Send + Sync + 'static,
) -> impl Aggregation<K, Change<V>, A> {
    let codec = Arc::clone(&table.value);
    let is_null = move |group: &A| matches!(codec.encode(group, &mut Vec::new()), Ok(false));
    move |group: Option<A>, key: &K, change: Change<V>| -> Result<Option<A>, Failure> {
        let rest = match (group, change.old) {
            (Some(group), Some(old)) => subtract(group, key, old),
            (group, _) => group,
        };
        Ok(match change.new {
            Some(new) => add(rest.filter(|rest| !is_null(rest)), key, new),
            None => rest,
        })
    }
}
