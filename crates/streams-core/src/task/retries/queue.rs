//! The waiting records of one source. They are in the task's tables; the queue has what is known
//! about them.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::rows::{self, DUE, HELD, RECORD, RetryKey, Waiting};
use crate::codec::CodecError;
use crate::error::Failure;
use crate::moment::Moment;
use crate::record::Timestamp;
use crate::state::changelog::end_of;
use crate::state::read_back;
use crate::state::tables::{TableIndex, Tables};

/// How many rows are read together when a task begins.
const TOGETHER: usize = 1_000;

pub(super) struct RetryQueue {
    table: TableIndex,
    name: Arc<str>,
    /// Whether later records with a key wait for the first one.
    holds: bool,
    /// How many records wait.
    pub(super) waiting: u64,
    /// The key of the row that finds the record that is due first.
    next: Option<Vec<u8>>,
    /// The date that decides what is due, when the monotonic clock showed `anchor`. It never goes
    /// back, even if the machine's date does: not while the task runs, and not before the date at
    /// which the last row was written.
    date: Timestamp,
    anchor: Timestamp,
}

/// What a starting task needs to know of a row.
struct Row {
    key: Vec<u8>,
    at: Timestamp,
    due: Option<Timestamp>,
}

impl RetryQueue {
    pub(super) fn new(table: TableIndex, name: &Arc<str>, holds: bool) -> Self {
        let name = Arc::clone(name);
        let next = None;
        Self { table, name, holds, waiting: 0, next, date: 0, anchor: 0 }
    }

    /// Resumes with the rows in the table. Records from their reader's `position` on are read again
    /// from the topic, so their rows are removed; otherwise they would be processed twice. Under
    /// at-least-once, a commit may have failed half-way. The missing index rows are added, so that
    /// no record is lost and no key waits without end.
    pub(super) fn resume(
        &mut self,
        tables: &mut Tables,
        position: &dyn Fn(&str) -> i64,
        now: Moment,
    ) -> Result<(), Failure> {
        self.waiting = 0;
        self.date = now.date.max(0);
        self.anchor = now.elapsed_ms;
        let mut from = vec![RECORD];
        let mut place = None;
        loop {
            let found = self.rows_from(tables, &from)?;
            for row in &found {
                self.date = self.date.max(row.at);
                let of_row = self.take_over(tables, row, place.as_ref(), position)?;
                place = of_row.or(place);
            }
            match found.into_iter().nth(TOGETHER - 1) {
                Some(last) => from = [&last.key[..], &[0]].concat(),
                None => break,
            }
        }
        self.look_from(tables, &[DUE])
    }

    /// Returns the retry key of the row, if its record waits. `before` is that of the previous
    /// record.
    fn take_over(
        &mut self,
        tables: &mut Tables,
        row: &Row,
        before: Option<&RetryKey>,
        position: &dyn Fn(&str) -> i64,
    ) -> Result<Option<RetryKey>, Failure> {
        let parts = rows::place_and_offset(&row.key).zip(row.due);
        let ((place, offset), due) = parts.ok_or_else(|| self.broken(&row.key))?;
        if offset >= position(place.reader()) {
            tables.delete(self.table, &row.key);
            tables.delete(self.table, &place.due(due, offset));
            return Ok(None);
        }
        self.waiting += 1;
        let is_first = before != Some(&place);
        let finder = place.due(due, offset);
        if (is_first || due != HELD) && tables.get(self.table, &finder)?.is_none() {
            self.put(tables, &finder, &[])?;
        }
        if is_first && place.can_hold() {
            let known = self.first_of(tables, &place)?;
            let is_wanted = self.holds || due == HELD || known.is_some();
            if is_wanted && known != Some(offset) {
                self.put(tables, &place.first(), &offset.to_be_bytes())?;
            }
        }
        Ok(Some(place))
    }

    /// Some rows of records, in order.
    fn rows_from(&self, tables: &Tables, from: &[u8]) -> Result<Vec<Row>, Failure> {
        let mut found = Vec::new();
        tables.scan(self.table, from, Some(&[DUE]), &mut |key, at, value| {
            let due = rows::due(value).map(|(due, _)| due);
            found.push(Row { key: key.to_vec(), at, due });
            if found.len() < TOGETHER { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// The date that decides which records are due.
    pub(super) fn date(&self, elapsed: Timestamp) -> Timestamp {
        self.date.saturating_add(elapsed.saturating_sub(self.anchor))
    }

    /// When the first record is due, on the monotonic clock.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let (due, ..) = rows::due_and_place(self.next.as_deref()?)?;
        Some(due.saturating_sub(self.date).saturating_add(self.anchor))
    }

    /// Whether records may have to wait for earlier ones.
    pub(super) fn may_hold(&self) -> bool {
        self.holds && self.waiting > 0
    }

    /// Whether a record with this retry key has to wait for an earlier one.
    pub(super) fn holds(&self, tables: &mut Tables, place: &RetryKey) -> Result<bool, Failure> {
        if !self.may_hold() || !place.can_hold() {
            return Ok(false);
        }
        let Some(first) = self.first_of(tables, place)? else { return Ok(false) };
        Ok(tables.get(self.table, &place.record(first))?.is_some())
    }

    /// Adds a waiting record. It is an error of the record if its row is too large.
    pub(super) fn add(
        &mut self,
        tables: &mut Tables,
        waiting: &Waiting,
        elapsed: Timestamp,
    ) -> Result<(), Failure> {
        let place = &waiting.place;
        let offset = waiting.record.offset;
        let is_new = tables.get(self.table, &place.record(offset))?.is_none();
        let is_first = self.holds && place.can_hold() && !self.holds(tables, place)?;
        self.write(tables, waiting, elapsed)?;
        self.waiting += u64::from(is_new);
        if is_first {
            self.put(tables, &place.first(), &offset.to_be_bytes())?;
        }
        Ok(())
    }

    /// Notes that a reader has received the record. Its row remains until the reader is finished:
    /// after a crash it is found there and delivered again.
    pub(super) fn take_in_hand(
        &mut self,
        tables: &mut Tables,
        found: &Waiting,
    ) -> Result<(), Failure> {
        self.forget(tables, &found.place.due(found.due, found.record.offset))
    }

    /// Lets the record wait again, until another time.
    pub(super) fn put_off(
        &mut self,
        tables: &mut Tables,
        found: &Waiting,
        waiting: &Waiting,
        elapsed: Timestamp,
    ) -> Result<(), Failure> {
        // Remove the old entry before adding the new one. Without a pause they may be the same.
        self.forget(tables, &found.place.due(found.due, found.record.offset))?;
        self.write(tables, waiting, elapsed)
    }

    /// Removes a finished record, and lets the next one with its retry key continue.
    pub(super) fn remove(&mut self, tables: &mut Tables, found: &Waiting) -> Result<(), Failure> {
        let Waiting { place, due, record, .. } = found;
        let offset = record.offset;
        tables.delete(self.table, &place.record(offset));
        self.waiting = self.waiting.saturating_sub(1);
        if place.can_hold() && self.first_of(tables, place)? == Some(offset) {
            self.let_next_go(tables, place, offset)?;
        }
        self.forget(tables, &place.due(*due, offset))
    }

    /// Lets the record after `offset` be the first of its retry key.
    fn let_next_go(
        &mut self,
        tables: &mut Tables,
        place: &RetryKey,
        offset: i64,
    ) -> Result<(), Failure> {
        // Search after the finished records, so that their deletions are not scanned again.
        let from = place.record(offset.saturating_add(1));
        let end = end_of(&from[..from.len() - 8]);
        let mut next = None;
        tables.scan(self.table, &from, end.as_deref(), &mut |key, _, value| {
            next = Some((key.to_vec(), rows::due(value).map(|(due, _)| due)));
            ControlFlow::Break(())
        })?;
        let Some((key, due)) = next else {
            tables.delete(self.table, &place.first());
            return Ok(());
        };
        let parts = rows::place_and_offset(&key).zip(due);
        let ((_, offset), due) = parts.ok_or_else(|| self.broken(&key))?;
        self.put(tables, &place.first(), &offset.to_be_bytes())?;
        if due == HELD {
            self.find_by_time(tables, place.due(HELD, offset))?;
        }
        Ok(())
    }

    /// Returns the record that is due first, if it is due now.
    pub(super) fn due(
        &mut self,
        tables: &mut Tables,
        elapsed: Timestamp,
    ) -> Result<Option<Waiting>, Failure> {
        let date = self.date(elapsed);
        while let Some(key) = self.next.take() {
            let parts = rows::due_and_place(&key);
            let (due, offset, place) = parts.ok_or_else(|| self.broken(&key))?;
            if due > date {
                self.next = Some(key);
                return Ok(None);
            }
            let row = place.record(offset);
            if let Some((_, value)) = tables.get(self.table, &row)? {
                let read = Waiting::read(place, offset, value);
                let waiting = read.ok_or_else(|| self.broken(&row))?;
                if waiting.due == due {
                    self.next = Some(key);
                    return Ok(Some(waiting));
                }
            }
            // This happens only under at-least-once, after a commit that failed half-way: the entry
            // has no row.
            tables.delete(self.table, &key);
            self.look_from(tables, &key)?;
        }
        Ok(None)
    }

    /// Writes the row of a record, and the entry that finds it by time.
    fn write(
        &mut self,
        tables: &mut Tables,
        waiting: &Waiting,
        elapsed: Timestamp,
    ) -> Result<(), Failure> {
        let Waiting { place, due, record, .. } = waiting;
        let stored = waiting.stored(self.date(elapsed));
        // The record's row is the largest, so it comes first: if the changelog would refuse it,
        // nothing has been written yet.
        tables.put_stamped(self.table, &place.record(record.offset), &stored)?;
        if *due != HELD {
            self.find_by_time(tables, place.due(*due, record.offset))?;
        }
        Ok(())
    }

    fn find_by_time(&mut self, tables: &mut Tables, key: Vec<u8>) -> Result<(), Failure> {
        self.put(tables, &key, &[])?;
        if self.next.as_ref().is_none_or(|next| key < *next) {
            self.next = Some(key);
        }
        Ok(())
    }

    /// Removes the entry that found a record by time.
    fn forget(&mut self, tables: &mut Tables, key: &[u8]) -> Result<(), Failure> {
        tables.delete(self.table, key);
        if self.next.as_deref() == Some(key) { self.look_from(tables, key) } else { Ok(()) }
    }

    /// Searches for what is due first, starting at a row. Everything before it is done.
    fn look_from(&mut self, tables: &Tables, from: &[u8]) -> Result<(), Failure> {
        self.next = None;
        tables.scan(self.table, from, Some(&[DUE + 1]), &mut |key, _, _| {
            self.next = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        Ok(())
    }

    /// The first record of a retry key, if it is stored.
    fn first_of(&self, tables: &mut Tables, place: &RetryKey) -> Result<Option<i64>, Failure> {
        let key = place.first();
        let Some((_, value)) = tables.get(self.table, &key)? else { return Ok(None) };
        let offset = value.try_into().map(i64::from_be_bytes);
        offset.map(Some).map_err(|_| self.broken(&key))
    }

    fn put(&self, tables: &mut Tables, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let stored = [&self.date.to_be_bytes()[..], value].concat();
        tables.put_stamped(self.table, key, &stored)
    }

    fn broken(&self, key: &[u8]) -> Failure {
        let why = CodecError::new("it is not a record that waits for a retry");
        read_back::broken(&self.name, "row", read_back::shown(key), why)
    }
}
