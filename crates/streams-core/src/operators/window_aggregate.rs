//! Aggregation per key and time window.
//!
//! Stream time is kept here, from the records that reach this operator: it is the highest of their
//! timestamps. A record whose window has `end + grace <= stream time` is late: dropped and counted
//! before it touches the table. When stream time reaches a window's end plus grace, the window is
//! closed, once: sent if somebody asked for closed windows, and deleted.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::chain::{Port, Receive};
use crate::cx::{Clock, Cx};
use crate::error::{Cause, Failure};
use crate::record::{Record, Timestamp};
use crate::table::Table;
use crate::tables::TableIndex;
use crate::window::{TimeWindows, Windowed};

use super::Hook;
use super::aggregate::{Aggregation, grow, read, write_key};

pub(crate) struct WindowAggregate<K, A, W, F> {
    pub(crate) table: Table<K, A>,
    pub(crate) index: TableIndex,
    pub(crate) windows: W,
    pub(crate) aggregation: F,
    pub(crate) ports: WindowPorts<K, A>,
}

/// Who listens to a windowed aggregation.
pub(crate) struct WindowPorts<K, A> {
    pub(crate) updates: Port<Windowed<K>, A>,
    pub(crate) closed: Port<Windowed<K>, A>,
}

impl<K, A> Clone for WindowPorts<K, A> {
    fn clone(&self) -> Self {
        Self { updates: self.updates.clone(), closed: self.closed.clone() }
    }
}

impl<K, V, A, W, F> Receive<K, V> for Arc<WindowAggregate<K, A, W, F>>
where
    K: Clone + 'static,
    V: Clone + 'static,
    A: 'static,
    W: TimeWindows,
    F: Aggregation<K, V, A>,
{
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure> {
        let now = cx.now;
        let clock = &mut cx.clocks[self.index];
        clock.time = clock.time.max(record.timestamp);
        (clock.arrival, clock.anchor) = (now, now);
        let time = clock.time;
        let open = |start: &Timestamp| self.end(*start) + self.windows.grace_ms() > time;
        let mut starts = self.windows.starts(record.timestamp).filter(open).peekable();
        cx.metrics.dropped_late += u64::from(starts.peek().is_none());
        let mut record = Some(record);
        while let Some(start) = starts.next() {
            // The last window takes the record itself; with tumbling windows there is no other.
            let next = if starts.peek().is_some() { record.clone() } else { record.take() };
            if let Some(record) = next {
                self.add(start, record, cx)?;
            }
        }
        self.close(cx)
    }
}

impl<K, A, W, F> WindowAggregate<K, A, W, F>
where
    K: Clone + 'static,
    A: 'static,
    W: TimeWindows,
{
    fn end(&self, start: Timestamp) -> Timestamp {
        start + self.windows.size_ms()
    }

    fn add<V>(&self, start: Timestamp, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure>
    where
        F: Aggregation<K, V, A>,
    {
        let mut key = std::mem::take(&mut cx.key_buffer);
        key.clear();
        key.extend_from_slice(&start.to_be_bytes());
        let result = self.update(start, record, &mut key, cx);
        cx.key_buffer = key;
        match result? {
            Some(record) => self.ports.updates.receive(record, cx),
            None => Ok(()),
        }
    }

    fn update<V>(
        &self,
        start: Timestamp,
        record: Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut Cx,
    ) -> Result<Option<Record<Windowed<K>, A>>, Failure>
    where
        F: Aggregation<K, V, A>,
    {
        write_key(&self.table.name, &*self.table.key, &record.key, key)?;
        let Record { key, value, timestamp } =
            grow(&self.table, self.index, &self.aggregation, key, record, cx)?;
        let clock = &mut cx.clocks[self.index];
        clock.first_open = clock.first_open.min(start);
        let key = Windowed { key, start, end: self.end(start) };
        Ok(self.ports.updates.is_connected().then_some(Record { key, value, timestamp }))
    }

    /// Closes every window whose time has come: sends it, if somebody wants closed windows, and
    /// deletes it.
    fn close(&self, cx: &mut Cx) -> Result<(), Failure> {
        let clock = cx.clocks[self.index];
        let open_from = clock.time.saturating_sub(self.windows.size_ms() + self.windows.grace_ms());
        // Windows that start at `open_from` or before are over.
        if clock.time == Clock::UNKNOWN || clock.first_open > open_from {
            return Ok(());
        }
        let (closed, first_open) = self.scan(open_from, cx)?;
        cx.clocks[self.index].first_open = first_open;
        for (store_key, timestamp, value) in closed {
            cx.tables.delete(self.index, &store_key);
            if self.ports.closed.is_connected() {
                let record = self.read_closed(&store_key, timestamp, &value)?;
                self.ports.closed.receive(record, cx)?;
            }
        }
        Ok(())
    }

    /// The windows that start at `open_from` or before, and the start of the first one after them.
    fn scan(&self, open_from: Timestamp, cx: &Cx) -> Result<(Vec<Entry>, Timestamp), Failure> {
        let (mut closed, mut first_open) = (Vec::new(), Timestamp::MAX);
        cx.tables.scan(self.index, &[], None, &mut |key, timestamp, value| {
            let start = window_start(key);
            if start > open_from {
                first_open = start;
                return ControlFlow::Break(());
            }
            closed.push((key.into(), timestamp, value.into()));
            ControlFlow::Continue(())
        })?;
        Ok((closed, first_open))
    }

    fn read_closed(
        &self,
        store_key: &[u8],
        timestamp: Timestamp,
        value: &[u8],
    ) -> Result<Record<Windowed<K>, A>, Failure> {
        let start = window_start(store_key);
        let key = self.table.key.decode(store_key.get(8..)).map_err(|source| {
            Failure::new(Cause::Encode { target: Arc::clone(&self.table.name), source })
        })?;
        let key = Windowed { key, start, end: self.end(start) };
        Ok(Record { key, value: read(&self.table, value)?, timestamp })
    }

    /// The wall-clock moment at which idle input lets the first open window close.
    fn idle_close_at(&self, cx: &Cx) -> Option<Timestamp> {
        let idle_after = self.windows.idle_after_ms()?;
        let clock = &cx.clocks[self.index];
        if clock.time == Clock::UNKNOWN || clock.first_open == Timestamp::MAX {
            return None;
        }
        // Not looked yet: look when the input has been idle long enough.
        let due = match clock.first_open {
            Clock::UNKNOWN => clock.time,
            first => self.end(first) + self.windows.grace_ms(),
        };
        let reached = clock.anchor.saturating_add(due.saturating_sub(clock.time).max(0));
        Some(reached.max(clock.arrival.saturating_add(idle_after)))
    }
}

impl<K, A, W, F> Hook for WindowAggregate<K, A, W, F>
where
    K: Clone + 'static,
    A: 'static,
    W: TimeWindows,
    F: Send + Sync,
{
    fn on_time(&self, cx: &mut Cx) -> Result<(), Failure> {
        if self.idle_close_at(cx).is_none_or(|at| at > cx.now) {
            return Ok(());
        }
        let now = cx.now;
        let clock = &mut cx.clocks[self.index];
        clock.time += now - clock.anchor;
        clock.anchor = now;
        self.close(cx)
    }

    fn next_wakeup(&self, cx: &Cx) -> Option<Timestamp> {
        self.idle_close_at(cx)
    }
}

/// Store key, timestamp, value.
type Entry = (Box<[u8]>, Timestamp, Box<[u8]>);

/// A store key begins with the window's start; a key too short for one was not written by us and
/// sorts first.
fn window_start(store_key: &[u8]) -> Timestamp {
    store_key.first_chunk::<8>().map_or(0, |start| i64::from_be_bytes(*start))
}
