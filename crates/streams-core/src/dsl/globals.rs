//! Joins of streams with global tables.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Stream, look_up};
use crate::builder::{Builder, Types};
use crate::chain::{Chain, Then};
use crate::consumed::{Consumed, TableSource};
use crate::global::{GlobalSource, GlobalTable, TypedRows};
use crate::policy::ErrorPolicy;
use crate::table::Table;

impl Builder {
    /// Creates a table of a topic of which every instance has all rows, of all partitions, up to
    /// date: reference data that streams can be joined with by any key. An instance starts its
    /// tasks once it has read the topic to its end. The topic itself makes the table durable; it
    /// should be compacted.
    ///
    /// A global table changes whenever its topic does, independently of the tasks that read it. A
    /// record that is processed again after a crash may see a newer row than before.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let countries = Topic::<String, String>::new("countries");
    /// let orders = Topic::<u64, String>::new("orders");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let names = app.global_table(&countries, &Table::new("country-names"));
    /// let named = app.stream(&orders).join_global(&names, |_, code| code.clone(), |_, _, name| {
    ///     name.clone()
    /// });
    /// named.to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&countries, "no".into(), "Norway".into())?;
    /// test.send(&orders, 7, "no".into())?;
    /// assert_eq!(test.take(&out)?, [(7, "Norway".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn global_table<S: TableSource>(
        &self,
        source: S,
        table: &Table<S::Key, S::Value>,
    ) -> GlobalTable<S::Key, S::Value> {
        let Consumed { topic, start, policy, max_ahead_ms, timestamps } =
            source.into_consumed_rows();
        let policy = policy.unwrap_or_default();
        let refused = match policy {
            ErrorPolicy::DeadLetter(_) => Some("have a dead-letter topic"),
            ErrorPolicy::Retry(_) => Some("have its records tried again"),
            ErrorPolicy::Fail | ErrorPolicy::Skip => None,
        };
        if let Some(what) = refused {
            self.problem(format!(
                "the global table {} cannot {what}: no task, and so no transaction, reads it",
                table.name
            ));
        }
        if start.is_some() || max_ahead_ms.is_some() || timestamps.is_some() {
            self.problem(format!(
                "the global table {} is read whole and has no time: of the options of its topic \
                 only on_error means something",
                table.name
            ));
        }
        self.refuse_ttl(table, "it has what its topic has");
        let user = format!("the global table {}", table.name);
        self.graph(|graph| graph.use_topic(&topic.name, user, Types::of_topic(&topic)));
        let source = GlobalSource {
            terms: Types::of_table(table).terms(None),
            topic: Arc::clone(&topic.name),
            name: Arc::clone(&table.name),
            policy,
            rows: Box::new(TypedRows { topic, table: table.clone() }),
        };
        let index = self.graph(|graph| graph.add_global(source));
        GlobalTable { table: table.clone(), index }
    }
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Joins each record with the row of a global table under the key that `key` returns. Records
    /// without a row are dropped. See [`Builder::global_table`] for an example.
    pub fn join_global<G: 'static, T: 'static, O: 'static>(
        self,
        table: &GlobalTable<G, T>,
        key: impl Fn(&K, &V) -> G + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, &T) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, impl Chain<Key = K, Value = O>> {
        self.look_up_global("join_global", table, key, look_up::joins(joiner))
    }

    /// [`join_global`](Stream::join_global) that also forwards records without a row.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let countries = Topic::<String, String>::new("countries");
    /// let orders = Topic::<u64, String>::new("orders");
    /// let out = Topic::<u64, String>::new("out");
    /// let app = Builder::new("example");
    /// let names = app.global_table(&countries, &Table::new("country-names"));
    /// let code = |_: &u64, code: &String| code.clone();
    /// let name = |_: &u64, code: &String, name: Option<&String>| name.unwrap_or(code).clone();
    /// app.stream(&orders).left_join_global(&names, code, name).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&orders, 7, "no".into())?;
    /// assert_eq!(test.take(&out)?, [(7, "no".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join_global<G: 'static, T: 'static, O: 'static>(
        self,
        table: &GlobalTable<G, T>,
        key: impl Fn(&K, &V) -> G + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&T>) -> O + Send + Sync + 'static,
    ) -> Stream<'b, K, O, impl Chain<Key = K, Value = O>> {
        self.look_up_global("left_join_global", table, key, look_up::left_joins(joiner))
    }

    fn look_up_global<G: 'static, T: 'static, O: 'static>(
        self,
        name: &'static str,
        table: &GlobalTable<G, T>,
        key: impl Fn(&K, &V) -> G + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&T>) -> Option<O> + Send + Sync + 'static,
    ) -> Stream<'b, K, O, impl Chain<Key = K, Value = O>> {
        let builder = self.builder;
        let node = self.add_node(name);
        let key_changed = self.key_changed;
        let row = look_up::global_row(table.clone(), key);
        let operator = look_up::LookUp { row, joiner, of: PhantomData };
        let chain = Then { chain: self.chain, operator };
        Stream { key_changed, ..Stream::new(builder, chain, node) }
    }
}
