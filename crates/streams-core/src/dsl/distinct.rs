//! Distinct: forwards the first record of each key.

use std::mem;
use std::sync::Arc;

use super::Stream;
use crate::builder::Types;
use crate::chain::{Chain, Then};
use crate::error::Failure;
use crate::operators::Expiring;
use crate::operators::table_rows::put;
use crate::receive::{Operator, Receive};
use crate::record::{Record, Timestamp};
use crate::state::changelog::Layout;
use crate::state::row_codec::write_key;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;

/// The layout of the operator's table.
const LAYOUT: Layout = Layout::KeyValue;

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Forwards a record if `table` has no row for its key, and drops it otherwise. The row of a
    /// key has the timestamp of the record that was forwarded. Equal keys must be in one partition:
    /// `build()` refuses it after an operator that changes the key.
    ///
    /// Give the table a [`ttl`](Table::ttl), or it grows with every key. A row expires when stream
    /// time is a `ttl` past the forwarded record, and the next record of the key is forwarded.
    /// Records that are dropped do not prolong the row. A record that is a `ttl` or more older than
    /// stream time is forwarded unless its key has a row, and leaves none.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let payments = Topic::<String, i64>::new("payments");
    /// let once = Topic::new("once");
    /// let seen = Table::new("seen").ttl(Duration::from_secs(600));
    /// let app = Builder::new("example");
    /// app.stream(&payments).distinct(&seen).to(&once);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (payment, seconds) in [("p-7", 0), ("p-8", 5), ("p-7", 599), ("p-7", 600)] {
    ///     test.send_record(&payments, Record::new(payment.into(), seconds, seconds * 1000))?;
    /// }
    /// let first = [("p-7", 0), ("p-8", 5), ("p-7", 600)];
    /// assert_eq!(test.take(&once)?, first.map(|(payment, n)| (payment.to_owned(), n)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn distinct(
        self,
        table: &Table<K, Timestamp>,
    ) -> Stream<'b, K, V, impl Chain<Key = K, Value = V> + use<K, V, C>> {
        let name = "distinct";
        self.refuse_changed_key(name);
        let builder = self.builder;
        let node = self.add_node(name);
        let types = Some(Types::of_table(table));
        let index = builder.graph(|graph| graph.add_table(&table.name, LAYOUT, types, name, node));
        // No operator downstream hears of expired rows.
        let expiring = builder.expiring(index, table.ttl_ms, node, None);
        let operator = Distinct { table: table.clone(), index, expiring };
        Stream::new(builder, Then { chain: self.chain, operator }, node)
    }
}

/// Forwards the records whose key has no row.
struct Distinct<K> {
    table: Table<K, Timestamp>,
    index: TableIndex,
    /// What deletes expired rows, if the table has a ttl.
    expiring: Option<Arc<Expiring>>,
}

impl<K: 'static, V: 'static> Operator<K, V> for Distinct<K> {
    type Key = K;
    type Value = V;

    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K, V>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        match &self.expiring {
            None => self.pass(record, next, cx),
            Some(table) => table.around(record.timestamp, cx, |cx| self.pass(record, next, cx)),
        }
    }
}

impl<K: 'static> Distinct<K> {
    /// Forwards the record if it is the first of its key.
    fn pass<V>(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K, V>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let mut key = mem::take(&mut cx.key_buffer);
        key.clear();
        let is_first = self.add(&record, &mut key, cx);
        cx.key_buffer = key;
        if is_first? { next.receive(record, cx) } else { Ok(()) }
    }

    /// Writes the row of the record's key, unless there is one. Returns whether it did.
    fn add<V>(
        &self,
        record: &Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        write_key(&self.table.name, &*self.table.key, &record.key, key)?;
        if cx.tables.get(self.index, key)?.is_some() {
            return Ok(false);
        }
        let at = record.timestamp;
        put(&self.table, self.index, key, &at, at, cx)?;
        Ok(true)
    }
}
