//! Rows with keys in a range, or with a prefix.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow, RangeBounds};

use super::{Page, after};
use crate::error::Failure;
use crate::state::changelog::end_of;
use crate::state::row_bytes::RowBytes;
use crate::state::row_codec::{read, read_key, write_key};
use crate::state::tables::TableIndex;
use crate::table::Table;

/// A position in a range of rows. Ends after the first error.
pub(crate) struct RowCursor<K, V> {
    index: TableIndex,
    /// Where the next page begins.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    page: VecDeque<Result<(K, V), Failure>>,
    /// Nothing is left after the page.
    is_done: bool,
}

impl<K: 'static, V: 'static> RowCursor<K, V> {
    /// The rows with these keys, in the order of their bytes.
    pub(crate) fn range(
        table: &Table<K, V>,
        index: TableIndex,
        keys: &impl RangeBounds<K>,
    ) -> Result<Self, Failure> {
        let encode = |key: &K| {
            let mut bytes = Vec::new();
            write_key(&table.name, &*table.key, key, &mut bytes).map(|()| bytes)
        };
        let from = match keys.start_bound() {
            Bound::Included(key) => encode(key)?,
            Bound::Excluded(key) => after(encode(key)?),
            Bound::Unbounded => Vec::new(),
        };
        let to = match keys.end_bound() {
            Bound::Included(key) => Some(after(encode(key)?)),
            Bound::Excluded(key) => Some(encode(key)?),
            Bound::Unbounded => None,
        };
        Ok(Self::between(index, from, to))
    }

    /// The rows whose keys' bytes begin with `prefix`.
    pub(crate) fn prefix(index: TableIndex, prefix: Vec<u8>) -> Self {
        let to = end_of(&prefix);
        Self::between(index, prefix, to)
    }

    /// No rows, and the reason.
    pub(crate) fn failed(index: TableIndex, failure: Failure) -> Self {
        let page = VecDeque::from([Err(failure)]);
        Self { page, is_done: true, ..Self::between(index, Vec::new(), None) }
    }

    fn between(index: TableIndex, from: Vec<u8>, to: Option<Vec<u8>>) -> Self {
        Self { index, from, to, page: VecDeque::new(), is_done: false }
    }

    /// Returns the next row.
    pub(crate) fn next(
        &mut self,
        table: &Table<K, V>,
        source: &mut (impl RowBytes + ?Sized),
    ) -> Option<Result<(K, V), Failure>> {
        if self.page.is_empty()
            && !self.is_done
            && let Err(failure) = self.read_page(table, source)
        {
            self.is_done = true;
            self.page.push_back(Err(failure));
        }
        self.page.pop_front()
    }

    fn read_page(
        &mut self,
        table: &Table<K, V>,
        source: &mut (impl RowBytes + ?Sized),
    ) -> Result<(), Failure> {
        let Self { index, from, to, page, is_done } = self;
        let mut fullness = Page::default();
        let mut next = None;
        source.scan(*index, from, to.as_deref(), &mut |key, _, value| {
            let row = read(table, key, value).and_then(|value| Ok((read_key(table, key)?, value)));
            let is_broken = row.is_err();
            page.push_back(row);
            if is_broken {
                return ControlFlow::Break(());
            }
            if !fullness.takes_last(key, value) {
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
