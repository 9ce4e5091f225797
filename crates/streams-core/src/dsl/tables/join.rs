//! Joins of tables by their keys.

use std::sync::Arc;

use super::TableStream;
use crate::chain::Chain;
use crate::operators::{JoinedRows, LeftChange, RightChange, Sides, TableJoin};
use crate::topology::NodeKind;

impl<'b, K: Clone + 'static, V: Clone + 'static> TableStream<'b, K, V> {
    /// Joins two tables: one row for each key that both have. When one side changes, the other is
    /// looked up, and the result changes at the later of the two timestamps. Both must have the
    /// same number of partitions, which is checked at the start.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let names = Topic::new("names");
    /// let towns = Topic::new("towns");
    /// let out = Topic::<u64, Option<String>>::new("out");
    /// let app = Builder::new("example");
    /// let name = Table::<u64, String>::new("name");
    /// let town = Table::<u64, String>::new("town");
    /// let name = app.table(&names, &name);
    /// let town = app.table(&towns, &town);
    /// name.join(&town, |_, name, town| format!("{name} of {town}")).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&names, 7, "Ann".into())?;
    /// test.send(&towns, 7, "Bath".into())?;
    /// assert_eq!(test.take(&out)?, [(7, Some("Ann of Bath".to_owned()))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join<W: Clone + 'static, O: Clone + 'static>(
        &self,
        other: &TableStream<'b, K, W>,
        joiner: impl Fn(&K, &V, &W) -> O + Send + Sync + 'static,
    ) -> TableStream<'b, K, O> {
        let both =
            move |key: &K, left: Option<&V>, right: Option<&W>| Some(joiner(key, left?, right?));
        self.joined("join", other, Sides::Inner, both)
    }

    /// Joins two tables: one row for each key of this table, with the other's row if there is one.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let names = Topic::new("names");
    /// let towns = Topic::new("towns");
    /// let out = Topic::<u64, Option<String>>::new("out");
    /// let app = Builder::new("example");
    /// let name = Table::<u64, String>::new("name");
    /// let town = Table::<u64, String>::new("town");
    /// let name = app.table(&names, &name);
    /// let town = app.table(&towns, &town);
    /// let text = |_: &u64, name: &String, town: Option<&String>| format!("{name}, {town:?}");
    /// name.left_join(&town, text).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&names, 7, "Ann".into())?;
    /// assert_eq!(test.take(&out)?, [(7, Some("Ann, None".to_owned()))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join<W: Clone + 'static, O: Clone + 'static>(
        &self,
        other: &TableStream<'b, K, W>,
        joiner: impl Fn(&K, &V, Option<&W>) -> O + Send + Sync + 'static,
    ) -> TableStream<'b, K, O> {
        let left =
            move |key: &K, left: Option<&V>, right: Option<&W>| Some(joiner(key, left?, right));
        self.joined("left_join", other, Sides::Left, left)
    }

    /// Joins two tables: one row for each key that either table has.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let ordered = Topic::new("ordered");
    /// let paid = Topic::new("paid");
    /// let out = Topic::<u64, Option<i64>>::new("due");
    /// let app = Builder::new("example");
    /// let orders = Table::<u64, i64>::new("orders");
    /// let payments = Table::<u64, i64>::new("paid");
    /// let orders = app.table(&ordered, &orders);
    /// let payments = app.table(&paid, &payments);
    /// let due = |_: &u64, a: Option<&i64>, b: Option<&i64>| a.unwrap_or(&0) - b.unwrap_or(&0);
    /// orders.outer_join(&payments, due).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&paid, 7, 5)?;
    /// test.send(&ordered, 7, 8)?;
    /// assert_eq!(test.take(&out)?, [(7, Some(-5)), (7, Some(3))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn outer_join<W: Clone + 'static, O: Clone + 'static>(
        &self,
        other: &TableStream<'b, K, W>,
        joiner: impl Fn(&K, Option<&V>, Option<&W>) -> O + Send + Sync + 'static,
    ) -> TableStream<'b, K, O> {
        let any = move |key: &K, left: Option<&V>, right: Option<&W>| {
            (left.is_some() || right.is_some()).then(|| joiner(key, left, right))
        };
        self.joined("outer_join", other, Sides::Outer, any)
    }

    fn joined<W, O, F>(
        &self,
        name: &'static str,
        other: &TableStream<'b, K, W>,
        sides: Sides,
        joiner: F,
    ) -> TableStream<'b, K, O>
    where
        W: Clone + 'static,
        O: Clone + 'static,
        F: Fn(&K, Option<&V>, Option<&W>) -> Option<O> + Send + Sync + 'static,
    {
        let builder = self.builder;
        if self.key_changed != other.key_changed {
            builder.problem(format!(
                "{name} of a windowed table with an unwindowed one: equal keys are in different \
                 partitions"
            ));
        }
        let parents = [self.node, other.node];
        let node = builder.graph(|graph| graph.add_node(NodeKind::Operator(name), &parents));
        let joiner = Arc::new(joiner);
        let rows = JoinedRows {
            left: Arc::clone(&self.rows),
            right: Arc::clone(&other.rows),
            joiner: Arc::clone(&joiner),
        };
        let joined = self.next(node, Arc::new(rows));
        let join = Arc::new(TableJoin {
            left: Arc::clone(&self.rows),
            right: Arc::clone(&other.rows),
            sides,
            joiner,
            changes: joined.changes.clone(),
        });
        self.changes.clone().connect(LeftChange(Arc::clone(&join)), builder);
        other.changes.clone().connect(RightChange(join), builder);
        joined
    }
}
