//! A processor's access to a table.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use super::process::{ProcessError, told};
use crate::operators::table_rows::{get_row, set_row};
use crate::reader::{KeptWindows, RowCursor, WindowCell, WindowCursor};
use crate::record::Timestamp;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::TaskContext;
use crate::window::Window;

/// A table that a processor declared.
pub(crate) struct DeclaredTable {
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    /// Whether the processor is its writer.
    pub(crate) is_written: bool,
    /// Its windows, if it has windows.
    pub(crate) windows: WindowCell,
}

impl DeclaredTable {
    /// Checks that it has rows by key: a table of windows has none.
    fn check_rows(&self) -> Result<(), ProcessError> {
        match self.windows.get() {
            None => Ok(()),
            Some(_) => Err(self.wrong("has windows: read them with windows(&key, from..to)")),
        }
    }

    fn kept_windows(&self) -> Result<Arc<dyn KeptWindows>, ProcessError> {
        let no_windows = || self.wrong("has no windows: read it with get, range or prefix");
        self.windows.get().map(Arc::clone).ok_or_else(no_windows)
    }

    #[cold]
    fn wrong(&self, why: &str) -> ProcessError {
        ProcessError::new(format!("the table {} {why}", self.name))
    }
}

/// A processor's access to a table: this partition's part.
pub struct ProcessTable<'c, K, V> {
    pub(super) cx: &'c mut TaskContext,
    pub(super) table: &'c Table<K, V>,
    pub(super) held: &'c DeclaredTable,
    pub(super) timestamp: Timestamp,
}

impl<K: 'static, V: 'static> ProcessTable<'_, K, V> {
    /// Returns the value of `key`.
    ///
    /// # Errors
    /// The table has [windows](Self::windows), the key cannot be encoded, the store fails, or the
    /// row cannot be read.
    pub fn get(&mut self, key: &K) -> Result<Option<V>, ProcessError> {
        self.held.check_rows()?;
        let row = get_row(self.table, self.held.index, key, self.cx);
        row.map_err(|failure| told(failure, self.cx))
    }

    /// Sets the value of `key`. A value that encodes to null deletes it.
    ///
    /// # Errors
    /// The table is only [read](crate::Process::reads) here, or the key or value cannot be encoded.
    pub fn put(&mut self, key: &K, value: &V) -> Result<(), ProcessError> {
        self.set(key, Some(value))
    }

    /// Deletes `key`.
    ///
    /// # Errors
    /// The same as for [`put`](Self::put).
    pub fn delete(&mut self, key: &K) -> Result<(), ProcessError> {
        self.set(key, None)
    }

    /// Returns the rows with these keys, one after the other: `..` is all rows, and `a..b` starts
    /// at `a` and ends before `b`. They come in the order of the keys' bytes: text sorts by its
    /// bytes, and natural integers by value, with negative ones after the others. Only a few are in
    /// memory at a time.
    ///
    /// The rows borrow the table. To write while iterating, take some rows, write, and continue
    /// after the last key.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// use std::ops::Bound;
    /// let orders = Topic::<u64, String>::new("orders");
    /// let due = Topic::new("due");
    /// let open = Table::<u64, String>::new("open");
    /// let app = Builder::new("example");
    /// let table = open.clone();
    /// let process = app.stream(&orders).process::<u64, String>("each-hundredth").table(&open);
    /// let hundredth = process.each(move |order, cx| {
    ///     cx.table(&table)?.put(&order.key, &order.value)?;
    ///     if order.key % 100 != 0 {
    ///         return Ok(());
    ///     }
    ///     let mut from = Bound::Unbounded;
    ///     loop {
    ///         let keys = (from, Bound::Excluded(order.key));
    ///         let some: Vec<_> =
    ///             cx.table(&table)?.range(keys)?.take(10).collect::<Result<_, _>>()?;
    ///         let Some((last, _)) = some.last() else { return Ok(()) };
    ///         from = Bound::Excluded(*last);
    ///         for (number, what) in some {
    ///             cx.table(&table)?.delete(&number)?;
    ///             cx.forward(Record::new(number, what, order.timestamp))?;
    ///         }
    ///     }
    /// });
    /// hundredth.to(&due);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for number in [7, 120, 30, 100] {
    ///     test.send(&orders, number, format!("order {number}"))?;
    /// }
    /// assert_eq!(test.take(&due)?, [(7, "order 7".to_owned()), (30, "order 30".to_owned())]);
    /// assert_eq!(test.table(&open, &120)?.as_deref(), Some("order 120"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A bound cannot be encoded, or the table has [windows](Self::windows). From the iterator: the
    /// store fails, or a row cannot be read.
    pub fn range(
        &mut self,
        keys: impl RangeBounds<K>,
    ) -> Result<ProcessRows<'_, K, V>, ProcessError> {
        self.held.check_rows()?;
        let cursor = RowCursor::range(self.table, self.held.index, &keys);
        let cursor = cursor.map_err(|failure| told(failure, self.cx))?;
        Ok(ProcessRows { cx: self.cx, table: self.table, cursor })
    }

    /// Returns the rows whose keys' bytes begin with `bytes`, like [`range`](Self::range). For
    /// natural text keys, these are the keys with that text as prefix.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// let places = Topic::<String, i64>::new("places");
    /// let out = Topic::<String, i64>::new("out");
    /// let people = Table::<String, i64>::new("people");
    /// let app = Builder::new("example");
    /// let table = people.clone();
    /// let process = app.stream(&places).process::<String, i64>("country").table(&people);
    /// let countries = process.each(move |place, cx| {
    ///     cx.table(&table)?.put(&place.key, &place.value)?;
    ///     let country = place.key.split('/').next().unwrap_or_default().to_owned();
    ///     let mut sum = 0;
    ///     for row in cx.table(&table)?.prefix(format!("{country}/")) {
    ///         sum += row?.1;
    ///     }
    ///     cx.forward(Record::new(country, sum, place.timestamp))
    /// });
    /// countries.to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (place, people) in [("no/oslo", 7), ("nl/delft", 1), ("no/bergen", 3)] {
    ///     test.send(&places, place.into(), people)?;
    /// }
    /// let sums = [("no", 7), ("nl", 1), ("no", 10)];
    /// assert_eq!(test.take(&out)?, sums.map(|(country, sum)| (country.to_owned(), sum)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(&mut self, bytes: impl AsRef<[u8]>) -> ProcessRows<'_, K, V> {
        let cursor = match self.held.check_rows() {
            Ok(()) => RowCursor::prefix(self.held.index, bytes.as_ref().to_vec()),
            Err(error) => RowCursor::failed(self.held.index, error.into_failure(&self.held.name)),
        };
        ProcessRows { cx: self.cx, table: self.table, cursor }
    }

    /// Returns all keys with their values, in the order of the keys' bytes. All of them are in
    /// memory at once; [`range`](Self::range)`(..)` has only a few at a time.
    pub fn entries(&mut self) -> Result<Vec<(K, V)>, ProcessError> {
        self.range(..)?.collect()
    }

    /// Returns the windows of `key` that overlap `time`, given in milliseconds since the Unix
    /// epoch: `at..=at` is the windows at that moment, and `..` is all. They come in the order of
    /// time (sessions by their end) with their values. Only a few are in memory at a time. The
    /// table must be written by a windowed aggregation and declared with
    /// [`reads`](crate::Process::reads).
    ///
    /// The result is the table as the records before this one left it, including windows that are
    /// still open, even if only closed windows are sent or updates are suppressed. To read only
    /// final results, store them in a table: `counts.into_table().suppress(…).keep(&results)`. Its
    /// rows have [`Windowed`](crate::Windowed) keys and are read with [`get`](Self::get). A window
    /// exists until it is deleted: when it closes, or when its
    /// [`retention`](crate::window::Tumbling::retention) ends, by the stream time of the
    /// aggregation.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// const HOUR: i64 = 3_600_000;
    /// let clicks = Topic::<String, i64>::new("clicks");
    /// let visits = Topic::new("visits");
    /// let alerts = Topic::<String, u64>::new("alerts");
    /// let minutes = Tumbling::of(Duration::from_secs(60)).retention(Duration::from_secs(7_200));
    /// let per_minute = Table::<String, u64>::new("per-minute");
    /// let app = Builder::new("example");
    /// app.stream(&clicks).group_by_key().window(minutes).count(&per_minute);
    /// let counts = per_minute.clone();
    /// let process = app.stream(&visits).process::<String, u64>("last-hour").reads(&per_minute);
    /// let last_hour = process.each(move |visit: Record<String, i64>, cx| {
    ///     let mut clicks = 0;
    ///     let hour = visit.timestamp - HOUR..=visit.timestamp;
    ///     for window in cx.table(&counts)?.windows(&visit.key, hour)? {
    ///         let (_minute, count) = window?;
    ///         clicks += count;
    ///     }
    ///     cx.forward(Record::new(visit.key, clicks, visit.timestamp))
    /// });
    /// last_hour.to(&alerts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for minute in [0, 30, 30, 85] {
    ///     test.send_record(&clicks, Record::new("ann".into(), 1, minute * 60_000))?;
    /// }
    /// test.send_record(&visits, Record::new("ann".into(), 1, 89 * 60_000))?;
    /// assert_eq!(test.take(&alerts)?, [("ann".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The table has no windows, or the key cannot be encoded. From the iterator: the store fails,
    /// or a window cannot be read.
    pub fn windows(
        &mut self,
        key: &K,
        time: impl RangeBounds<Timestamp>,
    ) -> Result<ProcessWindows<'_, K, V>, ProcessError> {
        let windows = self.held.kept_windows()?;
        let index = self.held.index;
        let cursor = WindowCursor::new(self.table, index, windows, key, &time, &self.cx.clocks);
        let cursor = cursor.map_err(|failure| told(failure, self.cx))?;
        Ok(ProcessWindows { cx: self.cx, table: self.table, cursor })
    }

    fn set(&mut self, key: &K, value: Option<&V>) -> Result<(), ProcessError> {
        if !self.held.is_written {
            let name = &self.held.name;
            let why = "something else writes it: a table has one writer";
            return Err(ProcessError::new(format!("the table {name} is only read here; {why}")));
        }
        let set = set_row(self.table, self.held.index, key, value, self.timestamp, self.cx);
        set.map_err(|failure| told(failure, self.cx))
    }
}

impl<K, V> fmt::Debug for ProcessTable<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessTable({})", self.held.name)
    }
}

/// The rows of a table, one after the other; see [`ProcessTable::range`]. Ends after the first
/// error.
pub struct ProcessRows<'c, K, V> {
    cx: &'c mut TaskContext,
    table: &'c Table<K, V>,
    cursor: RowCursor<K, V>,
}

impl<K: 'static, V: 'static> Iterator for ProcessRows<'_, K, V> {
    type Item = Result<(K, V), ProcessError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.cursor.next(self.table, &mut self.cx.tables)?;
        Some(row.map_err(|failure| told(failure, self.cx)))
    }
}

/// The windows of a key, one after the other; see [`ProcessTable::windows`]. Ends after the first
/// error.
pub struct ProcessWindows<'c, K, V> {
    cx: &'c mut TaskContext,
    table: &'c Table<K, V>,
    cursor: WindowCursor<V>,
}

impl<K: 'static, V: 'static> Iterator for ProcessWindows<'_, K, V> {
    type Item = Result<(Window, V), ProcessError>;

    fn next(&mut self) -> Option<Self::Item> {
        let window = self.cursor.next(self.table, &mut self.cx.tables)?;
        Some(window.map_err(|failure| told(failure, self.cx)))
    }
}
