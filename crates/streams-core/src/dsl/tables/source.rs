//! Where tables come from: topics and streams.

use std::sync::Arc;

use super::TableStream;
use crate::builder::{Builder, Types};
use crate::chain::Chain;
use crate::consumed::TableSource;
use crate::dsl::Stream;
use crate::operators::{StoredRows, ToTable};
use crate::state::changelog::Layout;
use crate::table::Table;
use crate::topology::SourceKind;

impl Builder {
    /// Reads a topic as a table: each record sets its key's row, and a null value deletes it. The
    /// later record wins, whatever its timestamp. The rows are stored in `table`, which has its own
    /// changelog. A record with a null key is an error.
    ///
    /// The topic is `&topic`, or [`topic.consumed_rows()`](crate::Topic::consumed_rows) with
    /// options.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let names = Topic::<u64, String>::new("names");
    /// let customers = Table::new("customers");
    /// let app = Builder::new("example");
    /// app.table(&names, &customers);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&names, 7, "Ann".into())?;
    /// assert_eq!(test.table(&customers, &7)?.as_deref(), Some("Ann"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn table<S>(
        &self,
        source: S,
        table: &Table<S::Key, S::Value>,
    ) -> TableStream<'_, S::Key, S::Value>
    where
        S: TableSource<Key: Clone, Value: Clone>,
    {
        let consumed = source.into_consumed_rows();
        self.source(consumed, SourceKind::User).into_table("table", table)
    }
}

impl<'b, K: Clone + 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Makes a table of a stream: each record sets its key's row. If the values are `Option`s,
    /// `None` deletes the row. After an operator that changes the key `build()` refuses it, as it
    /// does [`group_by_key`](Stream::group_by_key).
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let readings = Topic::<String, i64>::new("readings");
    /// let latest = Table::<String, i64>::new("latest");
    /// let app = Builder::new("example");
    /// app.stream(&readings).filter(|_, n| *n >= 0).to_table(&latest);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&readings, "a".into(), 7)?;
    /// test.send(&readings, "a".into(), -1)?;
    /// assert_eq!(test.table(&latest, &"a".into())?, Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_table<T: Clone + 'static>(self, table: &Table<K, T>) -> TableStream<'b, K, T>
    where
        V: Into<Option<T>>,
    {
        self.refuse_changed_key("to_table");
        self.into_table("to_table", table)
    }

    fn into_table<T: Clone + 'static>(
        self,
        operator: &'static str,
        table: &Table<K, T>,
    ) -> TableStream<'b, K, T>
    where
        V: Into<Option<T>>,
    {
        let builder = self.builder;
        let node = self.add_node(operator);
        let types = Some(Types::of_table(table));
        let index = builder
            .graph(|graph| graph.add_table(&table.name, Layout::KeyValue, types, operator, node));
        let rows = Arc::new(StoredRows { table: table.clone(), index });
        let tables = TableStream::new(builder, node, Arc::clone(&table.key), rows);
        let operator = ToTable(tables.kept_in(table, index));
        self.chain.connect(operator, builder);
        tables
    }
}
