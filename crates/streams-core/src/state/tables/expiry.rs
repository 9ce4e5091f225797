//! Rows that expire: which have expired, and which are still to be deleted.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{TableIndex, Tables};
use crate::due::Frontier;
use crate::error::Failure;
use crate::record::Timestamp;
use crate::state::changelog::{
    BY_KEY, BY_TIME, TableSpec, look_at, row_key, since, time_and_key, unstamped,
};
use crate::state::row_bytes::Visit;
use crate::state::unreleased::RecordWrites;
use crate::store::StoreError;
use crate::stream_clock::{ClockIndex, StreamClock};

/// The ttl of a table, and which of its rows have expired.
pub(super) struct Expiry {
    ttl_ms: i64,
    clock: ClockIndex,
    /// Rows of this time and earlier have expired. It follows from the clock.
    gone: Timestamp,
    /// The index entries that wait to be checked.
    waiting: Frontier,
    /// What it was before the current record, if the record has changed it and may be undone.
    waiting_before: Option<Frontier>,
    /// The least and the greatest timestamp of the rows that left a layer since
    /// [`Tables::note_absorbed`] was last called.
    absorbed: Option<(Timestamp, Timestamp)>,
}

impl Expiry {
    /// Notes an entry that left a layer.
    pub(super) fn absorb(&mut self, store_key: &[u8], stored: &[u8]) {
        if store_key.first() == Some(&BY_KEY) {
            let at = unstamped(stored).0.max(0);
            let (first, last) = self.absorbed.unwrap_or((at, at));
            self.absorbed = Some((first.min(at), last.max(at)));
        }
    }

    pub(super) fn is_gone(&self, at: Timestamp) -> bool {
        is_gone(at, self.gone)
    }

    /// The index entries that wait, for a change.
    #[inline]
    fn waiting_mut(&mut self, undoable: bool) -> &mut Frontier {
        if undoable && self.waiting_before.is_none() {
            self.waiting_before = Some(self.waiting.clone());
        }
        &mut self.waiting
    }

    fn follow(&mut self, clocks: &[StreamClock]) {
        self.gone = clocks[self.clock].time.saturating_sub(self.ttl_ms);
    }
}

/// Whether a row of this time has expired, if those up to `gone` have.
fn is_gone(at: Timestamp, gone: Timestamp) -> bool {
    // A changelog may have −1, which is not a time.
    at.max(0) <= gone
}

/// Creates one for each table, in their order; empty if no table has a ttl.
pub(super) fn of(specs: &[TableSpec]) -> Box<[Option<Expiry>]> {
    if specs.iter().all(|spec| spec.ttl.is_none()) {
        return Box::default();
    }
    let expiry = |spec: &TableSpec| {
        let ttl = spec.ttl?;
        Some(Expiry {
            ttl_ms: ttl.ms,
            clock: ttl.clock,
            gone: Timestamp::MIN,
            waiting: Frontier::unknown(),
            waiting_before: None,
            absorbed: None,
        })
    };
    specs.iter().map(expiry).collect()
}

/// The result of checking an entry of the index by time.
pub(crate) enum Due {
    /// The row was deleted meanwhile.
    Nothing,
    /// The row has this later timestamp, and this is its index entry now.
    Later(Timestamp, Vec<u8>),
    /// The row has expired.
    Gone,
}

impl Tables {
    #[inline]
    pub(super) fn expiry(&self, local: usize) -> Option<&Expiry> {
        self.expiries.get(local)?.as_ref()
    }

    /// The stream time by which rows of a table expire, if they do.
    #[inline]
    pub(crate) fn expiry_clock(&self, table: TableIndex) -> Option<ClockIndex> {
        self.expiry(self.local[table]).map(|expiry| expiry.clock)
    }

    /// How long the rows of a table are retained; 0 is without limit.
    pub(crate) fn ttl_ms(&self, table: TableIndex) -> i64 {
        self.expiry(self.local[table]).map_or(0, |expiry| expiry.ttl_ms)
    }

    /// Rows of this time and earlier have expired.
    pub(crate) fn gone(&self, table: TableIndex) -> Timestamp {
        self.expiry(self.local[table]).map_or(Timestamp::MIN, |expiry| expiry.gone)
    }

    /// The position of a key's row: the table's number in the store, and the store key.
    pub(crate) fn place_of(&self, table: TableIndex, key: &[u8]) -> (usize, Vec<u8>) {
        let local = self.local[table];
        let store_key = if self.expiry(local).is_some() { row_key(key) } else { key.to_vec() };
        (local, store_key)
    }

    /// The positions of the rows in `[from, to)`: the table's number in the store, and its store
    /// keys.
    pub(crate) fn places_of(
        &self,
        table: TableIndex,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> (usize, Vec<u8>, Option<Vec<u8>>) {
        let (local, from) = self.place_of(table, from);
        let to = match self.expiry(local) {
            Some(_) => Some(to.map_or_else(|| vec![BY_TIME], row_key)),
            None => to.map(<[u8]>::to_vec),
        };
        (local, from, to)
    }

    /// For each table with a ttl: the time up to which its rows will have expired once `writes` are
    /// absorbed, if that is later than now.
    pub(crate) fn gone_after(&self, writes: &RecordWrites) -> Vec<(usize, Timestamp)> {
        let mut gone = Vec::new();
        for (local, expiry) in self.expiries.iter().enumerate() {
            let Some(expiry) = expiry else { continue };
            let rows = writes.rows().filter(|row| row.table == local);
            let rows = rows.filter(|row| row.key.first() == Some(&BY_KEY));
            let times = rows.filter_map(|row| Some(unstamped(row.value.as_deref()?).0));
            let last = times.max().unwrap_or(Timestamp::MIN).saturating_sub(expiry.ttl_ms);
            if last > expiry.gone {
                gone.push((local, last));
            }
        }
        gone
    }

    /// Whether rows may have expired that are not yet deleted.
    pub(crate) fn has_due(&self, table: TableIndex) -> bool {
        self.expiry(self.local[table]).is_some_and(|expiry| expiry.waiting.time <= expiry.gone)
    }

    /// Whether an index entry is due, and before those that wait.
    pub(crate) fn is_in_portion(&self, table: TableIndex, at: Timestamp, place: &[u8]) -> bool {
        let expiry = self.expiry(self.local[table]);
        expiry.is_some_and(|expiry| at <= expiry.gone && expiry.waiting.is_after(at, place))
    }

    /// Sets which index entries wait to be checked.
    pub(crate) fn set_waiting(&mut self, table: TableIndex, waiting: Frontier) {
        let undoable = self.undo.is_some();
        if let Some(expiry) = self.expiry_mut(table) {
            *expiry.waiting_mut(undoable) = waiting;
        }
    }

    /// Notes that a row was written which must be checked at `at`.
    #[inline]
    pub(crate) fn wait_for(&mut self, table: TableIndex, at: Timestamp) {
        let undoable = self.undo.is_some();
        if let Some(expiry) = self.expiry_mut(table) {
            expiry.waiting_mut(undoable).back_to(at.max(0));
        }
    }

    #[inline]
    fn expiry_mut(&mut self, table: TableIndex) -> Option<&mut Expiry> {
        self.expiries.get_mut(self.local[table])?.as_mut()
    }

    /// Begins a record that may be undone: nothing is saved for it yet.
    pub(super) fn begin_waiting(&mut self) {
        self.expiries.iter_mut().flatten().for_each(|expiry| expiry.waiting_before = None);
    }

    /// Undoes what the record has changed.
    pub(super) fn undo_waiting(&mut self) {
        for expiry in self.expiries.iter_mut().flatten() {
            if let Some(before) = expiry.waiting_before.take() {
                expiry.waiting = before;
            }
        }
    }

    /// Forgets what waits, as at the start of a task.
    pub(super) fn discard_waiting(&mut self) {
        for expiry in self.expiries.iter_mut().flatten() {
            expiry.waiting = Frontier::unknown();
            expiry.waiting_before = None;
        }
    }

    /// Updates the expiry to new stream times.
    pub(crate) fn follow(&mut self, clocks: &[StreamClock]) {
        self.expiries.iter_mut().flatten().for_each(|expiry| expiry.follow(clocks));
    }

    /// Notes the rows that left layers: they advance stream time, and wait to expire. Returns
    /// whether any row may have expired.
    pub(crate) fn note_absorbed(&mut self, clocks: &mut [StreamClock]) -> bool {
        let undoable = self.undo.is_some();
        let mut is_due = false;
        for expiry in self.expiries.iter_mut().flatten() {
            let Some((first, last)) = expiry.absorbed.take() else { continue };
            let clock = &mut clocks[expiry.clock];
            clock.time = clock.time.max(last);
            expiry.waiting_mut(undoable).back_to(first);
            expiry.follow(clocks);
            is_due |= expiry.waiting.time <= expiry.gone;
        }
        is_due
    }

    /// Runs `work` as if stream time were `time`, for readers that are ahead of it.
    pub(crate) fn ahead<T>(
        &mut self,
        table: TableIndex,
        time: Timestamp,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let local = self.local[table];
        let Some(expiry) = self.expiries.get_mut(local).and_then(Option::as_mut) else {
            return work(self);
        };
        let before = expiry.gone;
        expiry.gone = before.max(time.saturating_sub(expiry.ttl_ms));
        let result = work(self);
        if let Some(expiry) = self.expiries.get_mut(local).and_then(Option::as_mut) {
            expiry.gone = before;
        }
        result
    }

    #[cold]
    pub(super) fn get_unless_gone(
        &mut self,
        local: usize,
        key: &[u8],
    ) -> Result<Option<(Timestamp, &[u8])>, StoreError> {
        let gone = self.expiry(local).map_or(Timestamp::MIN, |expiry| expiry.gone);
        let row = self.look_up(local, &row_key(key))?.map(unstamped);
        Ok(row.filter(|(at, _)| !is_gone(*at, gone)))
    }

    /// Writes a row. An existing row already has an index entry with an earlier time, which is
    /// moved when it is due. So a row has one index entry, however often it is written.
    #[cold]
    pub(super) fn put_row(
        &mut self,
        local: usize,
        key: &[u8],
        stored: &[u8],
    ) -> Result<(), Failure> {
        let store_key = row_key(key);
        self.check_size(local, &store_key, stored)?;
        let (at, _) = unstamped(stored);
        let before = self.look_up(local, &store_key)?.map(unstamped);
        let has_entry = before.is_some_and(|(before, _)| before <= at);
        // When it is absorbed later, the row and its index entry may be gone.
        if self.is_layered || !has_entry {
            self.write_local(local, &look_at(at, key), Some(&[]));
        }
        self.write_local(local, &store_key, Some(stored));
        Ok(())
    }

    /// Deletes the index entry of a row's own timestamp. An entry with an earlier time may remain;
    /// it finds no row when it is due.
    pub(super) fn forget_when_to_look(
        &mut self,
        local: usize,
        key: &[u8],
    ) -> Result<(), StoreError> {
        if let Some((at, _)) = self.look_up(local, &row_key(key))?.map(unstamped) {
            self.write_local(local, &look_at(at, key), None);
        }
        Ok(())
    }

    /// Visits the rows that have not expired.
    pub(super) fn scan_rows(
        &self,
        local: usize,
        expiry: &Expiry,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let to = to.map_or_else(|| vec![BY_TIME], row_key);
        self.scan_store(local, &row_key(from), Some(&to), &mut |key, at, value| {
            if expiry.is_gone(at) {
                return ControlFlow::Continue(());
            }
            visit(key.get(1..).unwrap_or_default(), at, value)
        })
    }

    /// Removes an expired row, if it still exists, and returns its timestamp and value.
    pub(crate) fn take_gone(
        &mut self,
        table: TableIndex,
        key: &[u8],
    ) -> Result<Option<(Timestamp, Box<[u8]>)>, StoreError> {
        let local = self.local[table];
        let gone = self.gone(table);
        let store_key = row_key(key);
        let Some((at, value)) = self.look_up(local, &store_key)?.map(unstamped) else {
            return Ok(None);
        };
        if !is_gone(at, gone) {
            return Ok(None);
        }
        let row = (at, value.into());
        self.write_local(local, &look_at(at, key), None);
        self.write_local(local, &store_key, None);
        Ok(Some(row))
    }

    /// Returns the index entries that are due, starting at `first`: at most `limit`.
    pub(crate) fn due(
        &mut self,
        table: TableIndex,
        limit: usize,
    ) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let mut places = BTreeSet::new();
        let Some(expiry) = self.expiry(self.local[table]) else { return Ok(places) };
        let gone = expiry.gone;
        let first = &expiry.waiting;
        let mut next = Frontier::at(Timestamp::MAX);
        let from = first.key().map_or_else(|| since(first.time), <[u8]>::to_vec);
        self.scan_store(self.local[table], &from, None, &mut |place, _, _| {
            let (time, _) = time_and_key(place);
            if time > gone {
                next = Frontier::at(time);
                return ControlFlow::Break(());
            }
            if places.len() == limit {
                next = Frontier::at_entry(time, place);
                return ControlFlow::Break(());
            }
            places.insert(place.to_vec());
            ControlFlow::Continue(())
        })?;
        self.set_waiting(table, next);
        Ok(places)
    }

    /// Checks the row of an index entry that is due, and deletes the entry or moves it.
    pub(crate) fn look(&mut self, table: TableIndex, place: &[u8]) -> Result<Due, StoreError> {
        let local = self.local[table];
        let (time, key) = time_and_key(place);
        let written = self.look_up(local, &row_key(key))?.map(|row| unstamped(row).0.max(0));
        self.write_local(local, place, None);
        Ok(match written {
            None => Due::Nothing,
            Some(at) if at > time => {
                let later = look_at(at, key);
                self.write_local(local, &later, Some(&[]));
                Due::Later(at, later)
            }
            Some(_) => Due::Gone,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::state::changelog::{Layout, Ttl};
    use crate::store::{Store, StoreBatch};
    use crate::stored_format::StoredFormat;

    /// A store of one table, and its position.
    #[derive(Default)]
    struct Rows(BTreeMap<Vec<u8>, Vec<u8>>, Option<i64>);

    impl Store for Rows {
        fn get(&self, _: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
            value.clear();
            let found = self.0.get(key);
            value.extend_from_slice(found.map_or(&[], Vec::as_slice));
            Ok(found.is_some())
        }

        fn scan(
            &self,
            _: usize,
            from: &[u8],
            to: Option<&[u8]>,
            visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        ) -> Result<(), StoreError> {
            let rows = self.0.range(from.to_vec()..);
            for (key, value) in rows.take_while(|(key, _)| to.is_none_or(|to| &key[..] < to)) {
                if visit(key, value).is_break() {
                    break;
                }
            }
            Ok(())
        }

        fn position(&self, _: usize) -> Result<Option<i64>, StoreError> {
            Ok(self.1)
        }

        fn as_of(&self, _: usize) -> Result<Option<Timestamp>, StoreError> {
            Ok(None)
        }

        fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
            for (key, value) in batch.tables[0].entries.iter() {
                match value {
                    Some(value) => drop(self.0.insert(key.to_vec(), value.to_vec())),
                    None => drop(self.0.remove(key)),
                }
            }
            self.1 = batch.tables[0].position.or(self.1);
            Ok(())
        }

        fn clear(&mut self, _: usize) -> Result<(), StoreError> {
            Ok(())
        }

        fn flush(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn tables() -> Tables {
        let spec = TableSpec {
            name: "seen".into(),
            changelog: "t-seen-changelog".into(),
            layout: Layout::KeyValue,
            is_ranged: false,
            ttl: Some(Ttl { ms: 10, clock: 0 }),
            terms: StoredFormat::default(),
        };
        Tables::new(Box::<Rows>::default(), Arc::new([spec]), Box::new([0]))
    }

    fn put(tables: &mut Tables, at: Timestamp) {
        let stored = [&at.to_be_bytes()[..], b"v"].concat();
        tables.put_stamped(0, b"k", &stored).expect("fits");
    }

    #[test]
    fn a_row_that_is_written_repeatedly_is_checked_once() {
        let mut tables = tables();
        (1_000..3_000).for_each(|at| put(&mut tables, at));
        assert_eq!(tables.overlays[0].sorted().count(), 2);
        tables.apply(&[Some(1)], 0).expect("applies");
        (3_000..5_000).for_each(|at| put(&mut tables, at));
        assert_eq!(tables.overlays[0].sorted().count(), 1);
        tables.apply(&[Some(2)], 0).expect("applies");
        tables.delete_any(0, b"k").expect("fits");
        put(&mut tables, 9_000);
        assert_eq!(tables.get(0, b"k").expect("reads"), Some((9_000, &b"v"[..])));
    }

    /// Other instances may have written to the changelog since this task did.
    #[test]
    fn a_change_of_the_index_alone_moves_no_position() {
        let mut tables = tables();
        put(&mut tables, 1);
        put(&mut tables, 5);
        tables.apply(&[Some(7)], 0).expect("applies");
        let found = tables.look(0, &look_at(1, b"k")).expect("reads");
        assert!(matches!(found, Due::Later(5, place) if place == look_at(5, b"k")));
        tables.apply(&[Some(3)], 0).expect("applies");
        assert_eq!(tables.store_mut().position(0).expect("reads"), Some(7));
        tables.set_waiting(0, Frontier::unknown());
        assert_eq!(tables.due(0, 9).expect("reads").len(), 0);
    }
}
