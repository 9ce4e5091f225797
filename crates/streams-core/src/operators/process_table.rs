//! A table as a processor reads and writes it.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use super::process::{ProcessError, told};
use super::table_access::{get_row, read, read_key, set_row, write_key};
use crate::cx::Cx;
use crate::error::Failure;
use crate::record::Timestamp;
use crate::table::Table;
use crate::tables::TableIndex;

/// A table that a processor declared.
pub(crate) struct Held {
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    /// Whether the processor is its writer.
    pub(crate) is_written: bool,
}

/// A table as a processor reads and writes it: this partition's part.
pub struct ProcessTable<'c, K, V> {
    pub(super) cx: &'c mut Cx,
    pub(super) table: &'c Table<K, V>,
    pub(super) held: &'c Held,
    pub(super) timestamp: Timestamp,
}

impl<K: 'static, V: 'static> ProcessTable<'_, K, V> {
    /// The value of `key`.
    pub fn get(&mut self, key: &K) -> Result<Option<V>, ProcessError> {
        let row = get_row(self.table, self.held.index, key, self.cx);
        row.map_err(|failure| told(failure, self.cx))
    }

    /// Sets the value of `key`; a value that encodes to null deletes it.
    ///
    /// # Errors
    /// The table is only [read](crate::Process::reads) here, or key or value cannot be encoded.
    pub fn put(&mut self, key: &K, value: &V) -> Result<(), ProcessError> {
        self.set(key, Some(value))
    }

    /// Deletes `key`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &K) -> Result<(), ProcessError> {
        self.set(key, None)
    }

    /// The rows with these keys, one after the other: `..` is all of them, `a..b` those from `a` on
    /// and before `b`. They come in the order of the keys' bytes: text as it is sorted as bytes,
    /// natural integers by value, negative ones after the others. A few are in memory at a time.
    ///
    /// The rows borrow the table. To write while going through them, take some, write, and go on
    /// from the last key taken.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// use std::ops::Bound;
    /// let (orders, due) = (Topic::<u64, String>::new("orders"), Topic::new("due"));
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
    /// A bound cannot be encoded. Of the rows: the store fails, or what it holds cannot be read.
    pub fn range(
        &mut self,
        keys: impl RangeBounds<K>,
    ) -> Result<ProcessRows<'_, K, V>, ProcessError> {
        let from = match self.bound(keys.start_bound())? {
            Bound::Included(key) => key,
            Bound::Excluded(key) => after(key),
            Bound::Unbounded => Vec::new(),
        };
        let to = match self.bound(keys.end_bound())? {
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        };
        Ok(self.rows(from, to))
    }

    /// The rows whose keys' bytes begin with `bytes`, as [`range`](Self::range) gives them. With
    /// natural keys that are text these are those that begin with a text.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// let (places, out) = (Topic::<String, i64>::new("places"), Topic::<String, i64>::new("out"));
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
        let from = bytes.as_ref().to_vec();
        let to = behind_all_with(&from);
        self.rows(from, to)
    }

    /// All keys with their values, in the order of the keys' bytes. They are in memory at once;
    /// [`range`](Self::range)`(..)` has a few at a time.
    pub fn entries(&mut self) -> Result<Vec<(K, V)>, ProcessError> {
        self.rows(Vec::new(), None).collect()
    }

    fn rows(&mut self, from: Vec<u8>, to: Option<Vec<u8>>) -> ProcessRows<'_, K, V> {
        ProcessRows {
            cx: self.cx,
            table: self.table,
            index: self.held.index,
            from,
            to,
            page: VecDeque::new(),
            is_done: false,
        }
    }

    fn bound(&mut self, key: Bound<&K>) -> Result<Bound<Vec<u8>>, ProcessError> {
        let mut encode = |key: &K| {
            let mut bytes = Vec::new();
            let written = write_key(&self.table.name, &*self.table.key, key, &mut bytes);
            written.map(|()| bytes).map_err(|failure| told(failure, self.cx))
        };
        Ok(match key {
            Bound::Included(key) => Bound::Included(encode(key)?),
            Bound::Excluded(key) => Bound::Excluded(encode(key)?),
            Bound::Unbounded => Bound::Unbounded,
        })
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

/// The first key behind `key`.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The first key behind all that begin with `prefix`; `None` if there is none.
fn behind_all_with(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

/// How much of a table is read at a time: rows, and bytes after which no further row is read.
const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 64 << 10;

/// Rows of a table, one after the other; see [`ProcessTable::range`]. Ends behind the first error.
pub struct ProcessRows<'c, K, V> {
    cx: &'c mut Cx,
    table: &'c Table<K, V>,
    index: TableIndex,
    /// Where the next page begins.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    page: VecDeque<Result<(K, V), Failure>>,
    /// Nothing is left behind the page.
    is_done: bool,
}

impl<K: 'static, V: 'static> ProcessRows<'_, K, V> {
    fn read_page(&mut self) -> Result<(), Failure> {
        let Self { cx, table, index, from, to, page, is_done } = self;
        let (mut bytes, mut next) = (0, None);
        cx.tables.scan(*index, from, to.as_deref(), &mut |key, _, value| {
            let row = read(table, key, value).and_then(|value| Ok((read_key(table, key)?, value)));
            bytes += key.len() + value.len();
            let is_broken = row.is_err();
            page.push_back(row);
            if is_broken {
                return ControlFlow::Break(());
            }
            if page.len() < PAGE_ROWS && bytes < PAGE_BYTES {
                return ControlFlow::Continue(());
            }
            next = Some(after(key.to_vec()));
            ControlFlow::Break(())
        })?;
        match next {
            Some(next) => *from = next,
            None => *is_done = true,
        }
        Ok(())
    }
}

impl<K: 'static, V: 'static> Iterator for ProcessRows<'_, K, V> {
    type Item = Result<(K, V), ProcessError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.is_done
            && let Err(failure) = self.read_page()
        {
            self.is_done = true;
            self.page.push_back(Err(failure));
        }
        let row = self.page.pop_front()?;
        Some(row.map_err(|failure| told(failure, self.cx)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_begins_with_it() {
        assert_eq!(behind_all_with(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(behind_all_with(&[7, 255, 255]), Some(vec![8]));
        assert_eq!(behind_all_with(&[255, 255]), None);
        assert_eq!(behind_all_with(b""), None);
    }
}
