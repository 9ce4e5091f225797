//! Aggregation per key and window, for any kind of window.
//!
//! The operator has its own stream time: the highest timestamp of the records that reach it. A
//! record that is late for all its windows is dropped and counted before it touches the table. When
//! stream time reaches the close of a window, the window is closed, once: it is sent if a receiver
//! needs closed windows, and deleted when its retention is over.

mod close;
mod naming;
mod state;
mod times;

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::change::Change;
use crate::error::Failure;
use crate::operator_state::StateIndex;
use crate::receive::{Port, Receive};
use crate::record::{Record, Timestamp};
use crate::state::changelog::{end_of, write_prefix};
use crate::state::read_back;
use crate::state::tables::TableIndex;
use crate::stream_clock::ClockIndex;
use crate::table::Table;
use crate::task_context::TaskContext;
use crate::window::{Base, Naming, Near, Plan, Window, WindowStep, Windowed, Windows};

pub(crate) use state::WindowState;
pub(crate) use times::WindowTimes;

use super::aggregate::Aggregation;
use super::table_rows::write_row;
use crate::state::row_codec::write_key;

pub(crate) struct WindowAggregate<K, A, W, F, M> {
    pub(crate) table: Table<K, A>,
    pub(crate) index: TableIndex,
    pub(crate) clock: ClockIndex,
    pub(crate) state: StateIndex<WindowState>,
    /// That of the first operator on the table, which knows for all which windows are open.
    pub(crate) first_state: StateIndex<WindowState>,
    /// All operators that write the table.
    pub(crate) siblings: Arc<[Sibling]>,
    pub(crate) windows: W,
    pub(crate) aggregation: F,
    /// Merges two aggregates of one key.
    pub(crate) merge: M,
    pub(crate) ports: WindowPorts<K, A>,
}

/// An operator of a table, as the others see it.
pub(crate) struct Sibling {
    pub(crate) clock: ClockIndex,
    pub(crate) state: StateIndex<WindowState>,
}

/// For windows that never merge.
pub(crate) fn never_merged<K, A>(_: Option<A>, _: &K, second: A) -> Result<Option<A>, Failure> {
    Ok(Some(second))
}

/// The receivers of a windowed aggregation.
pub(crate) struct WindowPorts<K, A> {
    pub(crate) updates: Port<Windowed<K>, A>,
    pub(crate) closed: Port<Windowed<K>, A>,
    pub(crate) changes: Port<Windowed<K>, Change<A>>,
}

impl<K, A> Clone for WindowPorts<K, A> {
    fn clone(&self) -> Self {
        Self {
            updates: self.updates.clone(),
            closed: self.closed.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl<K: 'static, A: 'static> WindowPorts<K, A> {
    pub(crate) fn new() -> Self {
        Self { updates: Port::new(), closed: Port::new(), changes: Port::new() }
    }
}

impl<K, V, A, W, F, M> Receive<K, V> for Arc<WindowAggregate<K, A, W, F, M>>
where
    K: Clone + 'static,
    V: Clone + 'static,
    A: 'static,
    W: Windows,
    F: Aggregation<K, V, A>,
    M: Aggregation<K, A, A>,
{
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let arrival = cx.elapsed;
        let first = self.first_time(cx);
        let clock = &mut cx.clocks[self.clock];
        clock.time = clock.time.max(record.timestamp).max(first);
        clock.arrival = arrival;
        clock.anchor = arrival;
        let mut key = mem::take(&mut cx.key_buffer);
        let mut plan = mem::take(&mut cx.plan);
        let result = self.place(record, &mut key, &mut plan, cx);
        cx.key_buffer = key;
        cx.plan = plan;
        result?;
        self.close(cx)
    }
}

impl<K, A, W, F, M> WindowAggregate<K, A, W, F, M>
where
    K: Clone + 'static,
    A: 'static,
    W: Windows,
{
    fn place<V: Clone>(
        &self,
        record: Record<K, V>,
        key: &mut Vec<u8>,
        plan: &mut Plan,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>
    where
        F: Aggregation<K, V, A>,
        M: Aggregation<K, A, A>,
    {
        let naming = self.windows.naming();
        let near = match naming {
            Naming::Start => Vec::new(),
            _ => self.find_near(&record, key, cx)?,
        };
        let time = cx.clocks[self.clock].time;
        plan.clear();
        self.windows.place(record.timestamp, time, &near, plan);
        let forget_at = self.forget_at(cx);
        plan.steps.retain(|step| !self.is_done(step.window, forget_at));
        if plan.steps.is_empty() {
            cx.drop_late(&self.table.name, record.timestamp, time);
        }
        if plan.removes_near && !plan.steps.is_empty() {
            near.iter().try_for_each(|near| self.remove(near, &record.key, key, cx))?;
        }
        let Some((last, others)) = plan.steps.split_last() else { return Ok(()) };
        for step in others {
            self.update(*step, &near, record.clone(), key, cx)?;
        }
        // The last window gets the record itself; tumbling windows have no other.
        self.update(*last, &near, record, key, cx)
    }

    /// Finds the windows of the record's key that its kind needs to see. If windows merge, those
    /// that can no longer change are excluded.
    fn find_near<V>(
        &self,
        record: &Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut TaskContext,
    ) -> Result<Vec<Near>, Failure> {
        let naming = self.windows.naming();
        let at = record.timestamp;
        key.clear();
        write_prefix(key, |out| write_key(&self.table.name, &*self.table.key, &record.key, out))?;
        let end = end_of(key);
        key.extend_from_slice(&self.windows.near_from(at).to_be_bytes());
        let forget_at = self.forget_at(cx);
        let mut near = Vec::new();
        cx.tables.scan(self.index, key, end.as_deref(), &mut |found, latest, value| {
            let (window, _) = naming.read(&self.windows, found);
            if !self.windows.is_near(window, at) {
                return ControlFlow::Break(());
            }
            let is_done = naming == Naming::EndAndStart && self.is_done(window, forget_at);
            if !is_done && !self.is_gone(window, cx) {
                near.push(Near { window, latest, value: value.into() });
            }
            ControlFlow::Continue(())
        })?;
        Ok(near)
    }

    fn write_store_key(&self, window: Window, key: &K, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.clear();
        self.windows
            .naming()
            .write(window, out, |out| write_key(&self.table.name, &*self.table.key, key, out))
    }

    /// Deletes a window that becomes part of another one.
    fn remove(
        &self,
        near: &Near,
        key: &K,
        buffer: &mut Vec<u8>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        self.write_store_key(near.window, key, buffer)?;
        // It had closed before it became part of another one, so it must be sent first.
        if self.is_left_to_close(near.window, buffer, cx)
            && let Some(record) = self.read_window(near.window, buffer, cx)?
        {
            self.let_out(record, cx)?;
        }
        cx.tables.delete(self.index, buffer);
        if !self.ports.changes.is_connected() {
            return Ok(());
        }
        let Window { start, end } = near.window;
        let old = self.read(near.window, buffer, &near.value)?;
        let change = Change { old: Some(old), new: None };
        let key = Windowed { key: key.clone(), start, end };
        self.ports.changes.receive(Record { key, value: change, timestamp: end }, cx)
    }

    fn update<V>(
        &self,
        step: WindowStep,
        near: &[Near],
        record: Record<K, V>,
        key: &mut Vec<u8>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>
    where
        F: Aggregation<K, V, A>,
        M: Aggregation<K, A, A>,
    {
        self.write_store_key(step.window, &record.key, key)?;
        let wants_old = self.ports.changes.is_connected();
        let (base, latest, old) = self.base(step, near, &record.key, key, wants_old, cx)?;
        let mut timestamp = latest.unwrap_or(Timestamp::MIN);
        let value = match base {
            Some(base) if !step.add => Some(base),
            base => {
                timestamp = timestamp.max(record.timestamp);
                self.aggregation.add(base, &record.key, record.value)?
            }
        };
        if self.windows.naming() == Naming::EndAndStart {
            timestamp = step.window.end;
        }
        let is_there = write_row(&self.table, self.index, key, value.as_ref(), timestamp, cx)?;
        self.note(step.window, cx);
        let Window { start, end } = step.window;
        let key = Windowed { key: record.key, start, end };
        self.send(Record { key, value, timestamp }, old, is_there, cx)
    }

    fn send(
        &self,
        record: Record<Windowed<K>, Option<A>>,
        old: Option<A>,
        is_there: bool,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp } = record;
        // At most one of them is connected.
        if self.ports.changes.is_connected() {
            let value = Change { old, new: value.filter(|_| is_there) };
            return self.ports.changes.receive(Record { key, value, timestamp }, cx);
        }
        match value {
            Some(value) if self.ports.updates.is_connected() => {
                self.ports.updates.receive(Record { key, value, timestamp }, cx)
            }
            _ => Ok(()),
        }
    }

    /// Returns the aggregate that the window starts from, its largest timestamp and, if needed, the
    /// window's stored aggregate.
    fn base(
        &self,
        step: WindowStep,
        near: &[Near],
        key: &K,
        store_key: &[u8],
        wants_old: bool,
        cx: &mut TaskContext,
    ) -> Result<Before<A>, Failure>
    where
        M: Aggregation<K, A, A>,
    {
        let itself = |near: &&Near| wants_old && near.window == step.window;
        match step.base {
            Base::Fresh => Ok((None, None, None)),
            Base::Stored => match cx.tables.get(self.index, store_key)? {
                None => Ok((None, None, None)),
                Some((latest, bytes)) => {
                    let read = || self.read(step.window, store_key, bytes);
                    let old = wants_old.then(read).transpose()?;
                    Ok((Some(read()?), Some(latest), old))
                }
            },
            Base::Near(index) => {
                let base = &near[index];
                let old = Some(base).filter(itself);
                let old = old.map(|near| self.read_near(near, store_key)).transpose()?;
                Ok((Some(self.read_near(base, store_key)?), Some(base.latest), old))
            }
            Base::Merged => {
                let mut merged = None;
                for near in near {
                    let next = self.read_near(near, store_key)?;
                    merged = self.merge.add(merged, key, next)?;
                }
                let old = near.iter().find(itself);
                let old = old.map(|near| self.read_near(near, store_key)).transpose()?;
                Ok((merged, near.iter().map(|near| near.latest).max(), old))
            }
        }
    }
}

impl<K: 'static, A: 'static, W: Windows, F, M> WindowAggregate<K, A, W, F, M> {
    /// Reads back the aggregate of a window. The store key is only for its key.
    fn read(&self, window: Window, store_key: &[u8], bytes: &[u8]) -> Result<A, Failure> {
        let Table { name, value, .. } = &self.table;
        read_back::value(name, &**value, bytes, || {
            let (_, key) = self.windows.naming().read(&self.windows, store_key);
            read_back::shown_in_window(key, window)
        })
    }

    /// Reads back the aggregate of a neighbour of the window with this store key.
    fn read_near(&self, near: &Near, store_key: &[u8]) -> Result<A, Failure> {
        self.read(near.window, store_key, &near.value)
    }
}

/// The aggregate that a window starts from, its largest timestamp, and its stored aggregate.
type Before<A> = (Option<A>, Option<Timestamp>, Option<A>);
