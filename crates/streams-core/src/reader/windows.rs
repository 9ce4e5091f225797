//! The windows of a key, of any kind.
//!
//! If windows are named by their start, the store key begins with the start, and the entries of a
//! key are spread over the store. A reader seeks from start to start and reads only its own key, so
//! the cost does not depend on the number of keys. Windows of other kinds are adjacent for each
//! key.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::{Arc, OnceLock};

use super::{Page, after};
use crate::error::Failure;
use crate::record::Timestamp;
use crate::state::changelog::{end_of, prefix};
use crate::state::read_back;
use crate::state::row_bytes::RowBytes;
use crate::state::row_codec::write_key;
use crate::state::tables::TableIndex;
use crate::stream_clock::StreamClock;
use crate::table::Table;
use crate::window::{Naming, Window};

/// The windows of a table, for readers that do not know their kind.
pub(crate) trait KeptWindows: Send + Sync {
    /// How they are named.
    fn naming(&self) -> Naming;

    /// The window that a store key belongs to.
    fn window(&self, store_key: &[u8]) -> Window;

    /// The length of each window, if all have the same length.
    fn length_ms(&self) -> Option<i64>;

    /// The stream time up to which windows are deleted.
    fn forget_at(&self, clocks: &[StreamClock]) -> Timestamp;

    /// The stream time at which a window is deleted. From then on it counts as deleted, whether the
    /// store still has it or not.
    fn forgotten_at(&self, window: Window) -> Timestamp;
}

/// Filled by the operator that writes the table, which may be described after its readers.
pub(crate) type WindowCell = Arc<OnceLock<Arc<dyn KeptWindows>>>;

/// A span of time that excludes its end.
#[derive(Clone, Copy)]
struct TimeSpan {
    from: Timestamp,
    to: Timestamp,
}

impl TimeSpan {
    fn of(time: &impl RangeBounds<Timestamp>) -> Self {
        let from = match time.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match time.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => Timestamp::MAX,
        };
        Self { from: from.max(0), to: to.max(0) }
    }

    /// Whether a window and this span overlap.
    fn meets(self, window: Window, naming: Naming) -> bool {
        let has_end = naming != Naming::Start;
        let ends_before = if has_end { window.end < self.from } else { window.end <= self.from };
        window.start < self.to && !ends_before
    }
}

/// A position among the windows of a key. Ends after the first error.
pub(crate) struct WindowCursor<V> {
    index: TableIndex,
    windows: Arc<dyn KeptWindows>,
    key: Vec<u8>,
    time: TimeSpan,
    /// Windows that are deleted at this stream time, or before, are not returned.
    forget_at: Timestamp,
    /// The store key at which the next page begins, and the one at which all end.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    page: VecDeque<Result<(Window, V), Failure>>,
    is_done: bool,
}

impl<V: 'static> WindowCursor<V> {
    /// The windows of `key` that overlap `time`.
    pub(crate) fn new<K: 'static>(
        table: &Table<K, V>,
        index: TableIndex,
        windows: Arc<dyn KeptWindows>,
        key: &K,
        time: &impl RangeBounds<Timestamp>,
        clocks: &[StreamClock],
    ) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        let time = TimeSpan::of(time);
        write_key(&table.name, &*table.key, key, &mut bytes)?;
        // A window that began earlier may overlap it.
        let length = windows.length_ms();
        let first = length.map_or(0, |length| time.from.saturating_sub(length).max(0));
        let of_key = prefix(&bytes);
        let (from, to) = match windows.naming() {
            Naming::Start => (at(&[], first), Some(at(&[], time.to))),
            Naming::StartNear => (at(&of_key, first), Some(at(&of_key, time.to))),
            // These are found by their end.
            Naming::EndAndStart => (at(&of_key, time.from), end_of(&of_key)),
        };
        Ok(Self {
            index,
            time,
            from,
            to,
            forget_at: windows.forget_at(clocks),
            windows,
            key: bytes,
            page: VecDeque::new(),
            is_done: time.from >= time.to,
        })
    }

    /// Returns the next window and its value.
    pub(crate) fn next<K: 'static>(
        &mut self,
        table: &Table<K, V>,
        source: &mut impl RowBytes,
    ) -> Option<Result<(Window, V), Failure>> {
        while self.page.is_empty() && !self.is_done {
            let read = match self.windows.naming() {
                Naming::Start => self.read_start(table, source),
                _ => self.read_page(table, source),
            };
            if let Err(failure) = read {
                self.is_done = true;
                self.page.push_back(Err(failure));
            }
        }
        self.page.pop_front()
    }

    /// Reads the next entry, which either is the key's or shows where the key's next one can be.
    fn read_start<K: 'static>(
        &mut self,
        table: &Table<K, V>,
        source: &mut impl RowBytes,
    ) -> Result<(), Failure> {
        let mut next = None;
        let mut found = None;
        source.scan(self.index, &self.from, self.to.as_deref(), &mut |entry, _, value| {
            let (start, key) = entry.split_at(entry.len().min(8));
            if key < &*self.key {
                next = Some([start, &self.key].concat());
                return ControlFlow::Break(());
            }
            if key == &*self.key {
                found = self.shown(table, entry, value);
            }
            next = end_of(start);
            ControlFlow::Break(())
        })?;
        self.page.extend(found);
        self.go_on(next);
        Ok(())
    }

    fn go_on(&mut self, next: Option<Vec<u8>>) {
        let is_broken = self.page.back().is_some_and(Result::is_err);
        match next {
            Some(next) if !is_broken => self.from = next,
            _ => self.is_done = true,
        }
    }

    fn read_page<K: 'static>(
        &mut self,
        table: &Table<K, V>,
        source: &mut impl RowBytes,
    ) -> Result<(), Failure> {
        let mut fullness = Page::default();
        let mut next = None;
        let mut page = VecDeque::new();
        source.scan(self.index, &self.from, self.to.as_deref(), &mut |entry, _, value| {
            page.extend(self.shown(table, entry, value));
            if page.back().is_some_and(Result::is_err) {
                return ControlFlow::Break(());
            }
            if !fullness.takes_last(entry, value) {
                return ControlFlow::Continue(());
            }
            next = Some(after(entry.to_vec()));
            ControlFlow::Break(())
        })?;
        self.page = page;
        self.go_on(next);
        Ok(())
    }

    /// Returns an entry of the key, if it is one of those that were asked for.
    fn shown<K: 'static>(
        &self,
        table: &Table<K, V>,
        entry: &[u8],
        value: &[u8],
    ) -> Option<Result<(Window, V), Failure>> {
        let window = self.windows.window(entry);
        let is_gone = self.windows.forgotten_at(window) <= self.forget_at;
        if is_gone || !self.time.meets(window, self.windows.naming()) {
            return None;
        }
        let shown = || read_back::shown_in_window(&self.key, window);
        let value = read_back::value(&table.name, &*table.value, value, shown);
        Some(value.map(|value| (window, value)))
    }
}

/// A position in the order of time.
fn at(prefix: &[u8], time: Timestamp) -> Vec<u8> {
    [prefix, &time.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_the_end_belongs_to_a_window_depends_on_its_kind() {
        let window = Window { start: 10, end: 20 };
        let meets = |from, to, naming| TimeSpan { from, to }.meets(window, naming);
        assert!(meets(19, 20, Naming::Start) && !meets(20, 21, Naming::Start));
        assert!(meets(20, 21, Naming::EndAndStart) && !meets(21, 22, Naming::EndAndStart));
        assert!(!meets(0, 10, Naming::Start) && meets(0, 11, Naming::Start));
    }

    #[test]
    fn every_kind_of_range() {
        let span = |span: TimeSpan| (span.from, span.to);
        assert_eq!(span(TimeSpan::of(&(..))), (0, Timestamp::MAX));
        assert_eq!(span(TimeSpan::of(&(3..5))), (3, 5));
        assert_eq!(span(TimeSpan::of(&(3..=5))), (3, 6));
        assert_eq!(span(TimeSpan::of(&(-3..=Timestamp::MAX))), (0, Timestamp::MAX));
        assert_eq!(
            span(TimeSpan::of(&(Bound::Excluded(3), Bound::Unbounded))),
            (4, Timestamp::MAX)
        );
    }
}
