//! What can be done with tables: rows by key that change.

mod derive;
mod foreign_key;
mod grouped;
mod join;
mod source;
mod suppress;

use std::sync::Arc;

use super::Stream;
use crate::builder::{Builder, Types};
use crate::chain::Chain;
use crate::change::Change;
use crate::codec::Codec;
use crate::dsl::stateless::MapValues;
use crate::operators::{Finality, Keep, MaterializedTable, Rows, StoredRows, tells};
use crate::receive::SharedReceiver;
use crate::state::changelog::Layout;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::topology::{NodeId, NodeKind};

pub use foreign_key::{ForeignTable, SentRows};
pub use grouped::TableGrouped;
pub use suppress::{BufferFull, Suppress};

/// A table on its way through the topology: rows by key, and a stream of their changes.
///
/// It is stored under a name or derived from tables that are, so a row's old value is always known.
/// Its methods borrow it: a table can be used as often as needed.
pub struct TableStream<'b, K, V> {
    pub(crate) builder: &'b Builder,
    pub(crate) node: NodeId,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) changes: SharedReceiver<K, Change<V>>,
    pub(crate) rows: Arc<dyn Rows<K, V>>,
    /// For windows: when a window's result is final.
    pub(crate) finality: Option<Finality<K>>,
    /// Its rows are not in the partition of their key's bytes: a window is in the partition of its
    /// key without the window.
    pub(crate) key_changed: bool,
}

impl<K, V> Clone for TableStream<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            builder: self.builder,
            node: self.node,
            key: Arc::clone(&self.key),
            changes: self.changes.clone(),
            rows: Arc::clone(&self.rows),
            finality: self.finality,
            key_changed: self.key_changed,
        }
    }
}

impl<'b, K: Clone + 'static, V: Clone + 'static> TableStream<'b, K, V> {
    pub(crate) fn new(
        builder: &'b Builder,
        node: NodeId,
        key: Arc<dyn Codec<K>>,
        rows: Arc<dyn Rows<K, V>>,
    ) -> Self {
        let changes = builder.shared_port();
        Self { builder, node, key, changes, rows, finality: None, key_changed: false }
    }

    /// A table derived from this one: same keys, other rows.
    pub(crate) fn next<V2: Clone + 'static>(
        &self,
        node: NodeId,
        rows: Arc<dyn Rows<K, V2>>,
    ) -> TableStream<'b, K, V2> {
        TableStream {
            finality: self.finality,
            key_changed: self.key_changed,
            ..TableStream::new(self.builder, node, Arc::clone(&self.key), rows)
        }
    }

    pub(crate) fn add_node(&self, name: &'static str) -> NodeId {
        self.builder.graph(|graph| graph.add_node(NodeKind::Operator(name), &[self.node]))
    }

    /// Returns the changes as a stream of new values, with `None` for a deleted row. A sink writes
    /// that as a tombstone.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let prices = Topic::<String, Option<i64>>::new("prices");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// app.table(&Topic::<String, i64>::new("prices"), &Table::new("prices")).to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&prices, "tea".into(), Some(3))?;
    /// test.send(&prices, "tea".into(), None)?;
    /// assert_eq!(test.take(&out)?, [("tea".to_owned(), Some(3)), ("tea".to_owned(), None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_stream(
        &self,
    ) -> Stream<'b, K, Option<V>, impl Chain<Key = K, Value = Option<V>> + use<K, V>> {
        let mut stream = Stream::new(self.builder, self.changes.clone(), self.node);
        stream.key_changed = self.key_changed;
        stream.then("to_stream", MapValues(move |_: &K, change: Change<V>| Ok(change.new)))
    }

    /// Stores a derived table under a name of its own, with a changelog, so that it can be read by
    /// that name. Joins and groupings do not need it, with one exception: a grouping after a join
    /// of a table with one derived from it. There both sides change at once, and only a stored join
    /// knows its row's old value.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let prices = Topic::<String, i64>::new("prices");
    /// let cheap = Table::<String, i64>::new("cheap");
    /// let app = Builder::new("example");
    /// let all = app.table(&prices, &Table::new("prices"));
    /// all.filter(|_, price| *price < 10).keep(&cheap);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&prices, "tea".into(), 3)?;
    /// test.send(&prices, "coffee".into(), 30)?;
    /// assert_eq!(test.table(&cheap, &"tea".into())?, Some(3));
    /// assert_eq!(test.table(&cheap, &"coffee".into())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(&self, table: &Table<K, V>) -> TableStream<'b, K, V> {
        let builder = self.builder;
        let node = self.add_node("keep");
        let types = Some(Types::of_table(table));
        let index = builder
            .graph(|graph| graph.add_table(&table.name, Layout::KeyValue, types, "keep", node));
        let rows = Arc::new(StoredRows { table: table.clone(), index });
        let kept = self.next(node, rows);
        let operator = Keep(kept.kept_in(table, index));
        self.changes.clone().connect(operator, builder);
        kept
    }

    /// The writer of this table, which is stored under a name.
    fn kept_in(&self, table: &Table<K, V>, index: TableIndex) -> MaterializedTable<K, V> {
        let changes = self.changes.clone();
        let tell = tells(table, changes.clone());
        let expiring = self.builder.expiring(index, table.ttl_ms, self.node, Some(tell));
        MaterializedTable { table: table.clone(), index, changes, expiring }
    }
}
