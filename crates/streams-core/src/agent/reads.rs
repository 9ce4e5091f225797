//! Reading several rows, or the windows of a key, in an agent.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::context::{AgentError, Context, TableAccess};
use crate::reader::{KeptWindows, RowCursor, WindowCursor};
use crate::record::Timestamp;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;
use crate::window::Window;

impl<'a, K: 'static, V: 'static> TableAccess<'a, K, V> {
    /// Returns the rows with these keys, one after the other, like
    /// [`ProcessTable::range`](crate::ProcessTable::range) in a processor. Only a few are in memory
    /// at a time, so writes of the agent in the meantime may or may not be visible.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// let orders = Topic::<u64, i64>::new("orders");
    /// let days = Topic::<u64, u64>::new("days");
    /// let sums = Topic::<u64, i64>::new("sums");
    /// let open = Table::<u64, i64>::new("open");
    /// let app = Builder::new("example");
    /// app.table(&orders, &open);
    /// app.agent("sum", &days).reads(&open).sends(&sums).run(move |mut days, cx| {
    ///     let open = open.clone();
    ///     let sums = sums.clone();
    ///     async move {
    ///         while let Some(day) = days.next().await {
    ///             let mut sum = 0;
    ///             for row in cx.table(&open).range(day.key..day.key + 100)? {
    ///                 sum += row?.1;
    ///             }
    ///             cx.send(&sums, day.key, sum)?;
    ///         }
    ///         Ok(())
    ///     }
    /// });
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (order, amount) in [(101, 5), (150, 7), (205, 11)] {
    ///     test.send(&orders, order, amount)?;
    /// }
    /// test.send(&days, 100, 1)?;
    /// assert_eq!(test.take(&Topic::<u64, i64>::new("sums"))?, [(100, 12)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The table was not declared, or has [windows](Self::windows); a bound cannot be encoded. From
    /// the iterator: the store fails, or a row cannot be read.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Result<TableRows<'a, K, V>, AgentError> {
        let index = self.rows_index()?;
        let cursor = self.context.with(|_| RowCursor::range(&self.table, index, &keys))?;
        Ok(TableRows { access: self.again(), index, cursor })
    }

    /// Returns the rows whose keys' bytes begin with `bytes`, like [`range`](Self::range).
    ///
    /// # Errors
    /// The same as for [`range`](Self::range).
    pub fn prefix(&self, bytes: impl AsRef<[u8]>) -> Result<TableRows<'a, K, V>, AgentError> {
        let index = self.rows_index()?;
        let cursor = RowCursor::prefix(index, bytes.as_ref().to_vec());
        Ok(TableRows { access: self.again(), index, cursor })
    }

    /// Returns the windows of `key` that overlap `time`, like
    /// [`ProcessTable::windows`](crate::ProcessTable::windows) in a processor.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let clicks = Topic::<String, i64>::new("clicks");
    /// let buys = Topic::new("buys");
    /// let out = Topic::<String, u64>::new("out");
    /// let visits = Table::<String, u64>::new("visits");
    /// let app = Builder::new("example");
    /// let sessions = Session::of(Duration::from_secs(1_800));
    /// app.stream(&clicks).group_by_key().window(sessions).count(&visits);
    /// let agent = app.agent("visit", &buys).reads(&visits).sends(&out);
    /// agent.run(move |mut buys: Records<String, i64>, cx| {
    ///     let visits = visits.clone();
    ///     let out = out.clone();
    ///     async move {
    ///         while let Some(buy) = buys.next().await {
    ///             let recently = buy.timestamp - 1_800_000..=buy.timestamp;
    ///             let mut recent = cx.table(&visits).windows(&buy.key, recently)?;
    ///             if let Some((_session, clicks)) = recent.next().transpose()? {
    ///                 cx.send(&out, buy.key, clicks)?;
    ///             }
    ///         }
    ///         Ok(())
    ///     }
    /// });
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for minute in [0, 10, 20] {
    ///     test.send_record(&clicks, Record::new("ann".into(), 1, minute * 60_000))?;
    /// }
    /// test.send_record(&buys, Record::new("ann".into(), 1, 25 * 60_000))?;
    /// assert_eq!(test.take(&Topic::<String, u64>::new("out"))?, [("ann".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The table was not declared, or has no windows; the key cannot be encoded. From the iterator:
    /// the store fails, or a window cannot be read.
    pub fn windows(
        &self,
        key: &K,
        time: impl RangeBounds<Timestamp>,
    ) -> Result<TableWindows<'a, K, V>, AgentError> {
        let index = self.read_index()?;
        let Some(kept) = self.context.declared.kept_windows(index) else {
            return Err(self.wrong("has no windows: read it with get, range or prefix"));
        };
        let kept = Arc::<dyn KeptWindows>::clone(kept);
        let open = |cx: &mut TaskContext| {
            WindowCursor::new(&self.table, index, kept, key, &time, &cx.clocks)
        };
        let cursor = self.context.with(open)?;
        Ok(TableWindows { context: self.context, table: self.table.clone(), cursor })
    }
}

/// The rows of a table, one after the other; see [`TableAccess::range`]. Ends after the first
/// error.
pub struct TableRows<'a, K, V> {
    access: TableAccess<'a, K, V>,
    index: TableIndex,
    cursor: RowCursor<K, V>,
}

impl<K: 'static, V: 'static> Iterator for TableRows<'_, K, V> {
    type Item = Result<(K, V), AgentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { access: TableAccess { context, table, .. }, index, cursor } = self;
        context.read(*index, |tables| cursor.next(table, tables).transpose()).transpose()
    }
}

/// The windows of a key, one after the other; see [`TableAccess::windows`]. Ends after the first
/// error.
pub struct TableWindows<'a, K, V> {
    context: &'a Context,
    table: Table<K, V>,
    cursor: WindowCursor<V>,
}

impl<K: 'static, V: 'static> Iterator for TableWindows<'_, K, V> {
    type Item = Result<(Window, V), AgentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { context, table, cursor } = self;
        context.with(|cx| cursor.next(table, &mut cx.tables).transpose()).transpose()
    }
}
