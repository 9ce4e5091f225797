//! Deletes the rows of a table that have expired.
//!
//! Only a row's timestamp and stream time decide whether it has expired, and reads do not show
//! expired rows (`tables/expiry.rs`). This module deletes them and notifies the operators
//! downstream, in the order of the rows' timestamps, then of their keys.

use super::Hook;
use crate::change::Change;
use crate::due::{Frontier, PORTION};
use crate::error::Failure;
use crate::receive::Receive;
use crate::record::{Headers, Record, Timestamp};
use crate::state::changelog::time_and_key;
use crate::state::row_codec::{read, read_key};
use crate::state::tables::{Due, TableIndex};
use crate::stream_clock::StreamClock;
use crate::table::Table;
use crate::task_context::TaskContext;

/// Notifies the operators downstream of an expired row: its key, its value, and when it expired.
pub(crate) type Tell =
    Box<dyn Fn(&[u8], &[u8], Timestamp, &mut TaskContext) -> Result<(), Failure> + Send + Sync>;

/// The writer of a table whose rows expire.
pub(crate) struct Expiring {
    pub(crate) index: TableIndex,
    pub(crate) tell: Option<Tell>,
}

/// Creates a notification of the operators downstream of a table.
pub(crate) fn tells<K: 'static, V: 'static>(
    table: &Table<K, V>,
    changes: impl Receive<K, Change<V>>,
) -> Tell {
    let table = table.clone();
    Box::new(move |key, value, at, cx| {
        let change = Change { old: Some(read(&table, key, value)?), new: None };
        let record = Record { key: read_key(&table, key)?, value: change, timestamp: at };
        // A later record deletes the row, but the deletion is not that record's result.
        cx.with_headers(Headers::new(), |cx| changes.receive(record, cx))
    })
}

impl Expiring {
    /// Does what a record does to the table, then deletes a portion of the expired rows.
    pub(crate) fn around(
        &self,
        timestamp: Timestamp,
        cx: &mut TaskContext,
        work: impl FnOnce(&mut TaskContext) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Time advances first: the record must not read rows that it makes expire.
        self.arrive(timestamp, cx);
        work(cx)?;
        self.expire(cx)
    }

    /// Notes that a record has reached the writer.
    pub(crate) fn arrive(&self, timestamp: Timestamp, cx: &mut TaskContext) {
        let Some(clock) = cx.tables.expiry_clock(self.index) else { return };
        let clock = &mut cx.clocks[clock];
        if timestamp > clock.time {
            clock.time = timestamp;
            cx.tables.follow(&cx.clocks);
        }
    }

    /// Prepares the write of a row. If the old row has expired, the operators downstream must see
    /// its deletion first, because their old value must be the last one they were sent.
    pub(crate) fn make_way(&self, key: &[u8], cx: &mut TaskContext) -> Result<(), Failure> {
        let Some((at, value)) = cx.tables.take_gone(self.index, key)? else { return Ok(()) };
        match &self.tell {
            Some(tell) => tell(key, &value, at.saturating_add(cx.tables.ttl_ms(self.index)), cx),
            None => Ok(()),
        }
    }

    /// Deletes a portion of the expired rows.
    pub(crate) fn expire(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        let Some(clock) = cx.tables.expiry_clock(self.index) else { return Ok(()) };
        while cx.tables.has_due(self.index) && cx.clocks[clock].time != StreamClock::UNKNOWN {
            let limit = cx.portion.left().min(PORTION);
            if limit == 0 {
                cx.portion.is_used_up = true;
                return Ok(());
            }
            let mut places = cx.tables.due(self.index, limit)?;
            while let Some(place) = places.pop_first() {
                if !cx.takes_one() {
                    let (time, _) = time_and_key(&place);
                    cx.tables.set_waiting(self.index, Frontier::at_entry(time, place));
                    return Ok(());
                }
                match cx.tables.look(self.index, &place)? {
                    Due::Nothing => {}
                    Due::Gone => {
                        let (_, key) = time_and_key(&place);
                        self.make_way(key, cx)?;
                    }
                    // Rows are deleted in the order of their own timestamps.
                    Due::Later(at, later) => {
                        if cx.tables.is_in_portion(self.index, at, &later) {
                            places.insert(later);
                        } else {
                            cx.tables.wait_for(self.index, at);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Hook for Expiring {
    fn on_due(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.expire(cx)
    }
}
