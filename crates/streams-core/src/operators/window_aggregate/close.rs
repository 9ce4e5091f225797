//! Closes windows, each once, and deletes them.

use std::mem;
use std::ops::ControlFlow;

use super::{WindowAggregate, times};
use crate::due::Pass;
use crate::error::Failure;
use crate::operators::{Closing, Hook};
use crate::receive::Receive;
use crate::record::{Headers, Record, Timestamp};
use crate::state::changelog::by_time;
use crate::state::row_codec::read_key;
use crate::stream_clock::{ClockIndex, StreamClock};
use crate::task_context::TaskContext;
use crate::window::{Naming, Window, Windowed, Windows};

impl<K, A, W, F, M> WindowAggregate<K, A, W, F, M>
where
    K: Clone + 'static,
    A: 'static,
    W: Windows,
{
    /// Closes every window that is due, and deletes those that are no longer needed. What exceeds a
    /// portion is done the next time.
    pub(super) fn close(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        if cx.clocks[self.clock].time == StreamClock::UNKNOWN {
            return Ok(());
        }
        let forget_at = self.forget_at(cx);
        if self.has_due(forget_at, cx) { self.close_due(forget_at, cx) } else { Ok(()) }
    }

    /// Whether any window is due. Usually none is, and one look at the state says so.
    #[inline]
    fn has_due(&self, forget_at: Timestamp, cx: &TaskContext) -> bool {
        let own = &cx.states[self.state];
        if own.retained.has_due(forget_at) {
            return true;
        }
        if !self.ports.closed.is_connected() {
            return false;
        }
        let first = if self.is_first() { own } else { &cx.states[self.first_state] };
        first.open.has_due(self.passed(cx))
    }

    fn close_due(&self, forget_at: Timestamp, cx: &mut TaskContext) -> Result<(), Failure> {
        // Close before deleting: a window that is deleted first could not be sent any more.
        if self.ports.closed.is_connected() {
            let time = self.passed(cx);
            while cx.states[self.first_state].open.has_due(time) {
                if !self.send_closed(time, cx)? {
                    // The deletion begins although the closing is not finished, so that expired
                    // windows count as deleted at the same record however large a portion is.
                    if cx.states[self.state].retained.next_delete <= forget_at {
                        self.begin_to_forget(forget_at, cx);
                    }
                    return Ok(());
                }
            }
        }
        while cx.states[self.state].retained.has_due(forget_at) {
            if !self.forget(forget_at, cx)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The stream time that all operators on the table have passed.
    fn passed(&self, cx: &TaskContext) -> Timestamp {
        times::passed(&self.siblings, &cx.clocks)
    }

    /// The stream time with which an operator starts at its first record. Windows that the others
    /// on the table have closed are closed for it too, and must not be open again after a restart.
    pub(super) fn first_time(&self, cx: &TaskContext) -> Timestamp {
        match cx.clocks[self.clock].time {
            StreamClock::UNKNOWN if self.siblings.len() > 1 => self.passed(cx),
            _ => StreamClock::UNKNOWN,
        }
    }

    /// Whether it is the first operator on the table.
    #[inline]
    fn is_first(&self) -> bool {
        self.state == self.first_state
    }

    /// Whether a window can no longer change. If windows are sent when they close, a closed one
    /// cannot, however long it is retained: it would be sent again with the same records.
    pub(super) fn is_done(&self, window: Window, forget_at: Timestamp) -> bool {
        match self.ports.closed.is_connected() {
            true => self.closes_at(window) <= forget_at,
            false => self.forgotten_at(window) <= forget_at,
        }
    }

    /// The stream time at which a window closes.
    #[inline]
    fn closes_at(&self, window: Window) -> Timestamp {
        times::closes_at(&self.windows, window)
    }

    /// The stream time at which a window is deleted.
    #[inline]
    pub(super) fn forgotten_at(&self, window: Window) -> Timestamp {
        times::forgotten_at(&self.windows, window)
    }

    /// Notes that a window exists, to be closed and deleted.
    pub(super) fn note(&self, window: Window, cx: &mut TaskContext) {
        let time = self.windows.naming().time(window);
        let own = &mut cx.states[self.state];
        own.retained.add(time, self.forgotten_at(window));
        // Only a receiver of closed windows has to know which are open.
        if self.ports.closed.is_connected() {
            let close_at = self.closes_at(window);
            let first = if self.is_first() { own } else { &mut cx.states[self.first_state] };
            first.open.add(time, close_at);
        }
    }

    /// Whether a window counts as deleted, although the store may still have it.
    pub(super) fn is_gone(&self, window: Window, cx: &TaskContext) -> bool {
        let all = self.siblings.iter();
        let mut passes = all.filter_map(|one| cx.states[one.state].retained.deleting.as_ref());
        passes.any(|pass| self.forgotten_at(window) <= pass.to)
    }

    /// Whether a window still has to be closed although stream time has passed it.
    pub(super) fn is_left_to_close(
        &self,
        window: Window,
        store_key: &[u8],
        cx: &TaskContext,
    ) -> bool {
        let Some(pass) = &cx.states[self.first_state].open.closing else { return false };
        let at = self.closes_at(window);
        pass.since < at && at <= pass.to && *pass.key <= *self.place_of(store_key)
    }

    /// The stream time up to which windows are deleted.
    pub(super) fn forget_at(&self, cx: &TaskContext) -> Timestamp {
        times::forget_at(&self.siblings, self.ports.closed.is_connected(), &cx.clocks)
    }

    /// Sends a portion of the windows that were not closed and are due at `time`. Returns whether
    /// none is left.
    fn send_closed(&self, time: Timestamp, cx: &mut TaskContext) -> Result<bool, Failure> {
        let is_uniform = self.windows.is_uniform();
        let wait_min = if is_uniform { self.windows.close_after_ms() } else { 0 };
        let mut pass = self.closing_pass(time, wait_min, cx);
        let since = pass.since;
        let due_at = |window| Some(self.closes_at(window)).filter(|at| *at > since);
        let looked = self.look(&mut pass, wait_min, due_at, cx)?;
        for (window, store_key) in &looked.due {
            if !cx.takes_one() {
                pass.key = self.place_of(store_key);
                cx.states[self.first_state].open.closing = Some(pass);
                return Ok(false);
            }
            if let Some(record) = self.read_window(*window, store_key, cx)? {
                self.let_out(record, cx)?;
            }
        }
        let open = &mut cx.states[self.first_state].open;
        if let Some(key) = looked.rest {
            pass.key = key;
            open.closing = Some(pass);
            cx.portion.is_used_up = true;
            return Ok(false);
        }
        open.add(pass.first, pass.next);
        open.closed_at = open.closed_at.max(pass.to);
        Ok(true)
    }

    /// Sends a closed window. A later record closes it, but it is not that record's result, so it
    /// has no headers.
    pub(super) fn let_out(
        &self,
        record: Record<Windowed<K>, A>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        cx.with_headers(Headers::new(), |cx| self.ports.closed.receive(record, cx))
    }

    /// Continues closing, or begins. Windows that are added meanwhile are noted separately.
    fn closing_pass(&self, time: Timestamp, wait_min: i64, cx: &mut TaskContext) -> Box<Pass> {
        let open = &mut cx.states[self.first_state].open;
        if let Some(pass) = open.closing.take() {
            return pass;
        }
        let closed_at = open.closed_at;
        // After a restart, what closed by the committed stream time has already been sent.
        let from = match open.first {
            StreamClock::UNKNOWN
                if self.windows.is_uniform() && closed_at != StreamClock::UNKNOWN =>
            {
                closed_at - wait_min + 1
            }
            from => from,
        };
        // Reset here, so that windows that are added during the pass are noted for the next one.
        open.first = Timestamp::MAX;
        open.next_close = Timestamp::MAX;
        Box::new(Pass::begin(closed_at, time, self.windows.naming().lower_bound(from)))
    }

    /// Deletes a portion of the windows that are not needed at `at`. Returns whether none is left.
    fn forget(&self, at: Timestamp, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.begin_to_forget(at, cx);
        let Some(mut pass) = cx.states[self.state].retained.deleting.take() else {
            return Ok(true);
        };
        let due_at = |window| Some(self.forgotten_at(window));
        let looked = self.look(&mut pass, self.windows.keep_for_ms(), due_at, cx)?;
        for (_, store_key) in &looked.due {
            if !cx.takes_one() {
                pass.key = self.place_of(store_key);
                cx.states[self.state].retained.deleting = Some(pass);
                return Ok(false);
            }
            cx.tables.delete(self.index, store_key);
        }
        let retained = &mut cx.states[self.state].retained;
        if let Some(key) = looked.rest {
            pass.key = key;
            retained.deleting = Some(pass);
            cx.portion.is_used_up = true;
            return Ok(false);
        }
        retained.add(pass.first, pass.next);
        Ok(true)
    }

    fn begin_to_forget(&self, at: Timestamp, cx: &mut TaskContext) {
        if cx.states[self.state].retained.deleting.is_some() {
            return;
        }
        let firsts = self.siblings.iter().map(|one| cx.states[one.state].retained.first);
        let first = firsts.min().unwrap_or(StreamClock::UNKNOWN);
        let from = self.windows.naming().lower_bound(first);
        let retained = &mut cx.states[self.state].retained;
        retained.first = Timestamp::MAX;
        retained.next_delete = Timestamp::MAX;
        retained.deleting = Some(Box::new(Pass::begin(StreamClock::UNKNOWN, at, from)));
    }

    /// Continues a pass through the windows and finds those that are due by then, as many as the
    /// portion allows. No window is due less than `wait_min` after the time with which its name
    /// begins. Windows for which `due_at` returns `None` are ignored.
    fn look(
        &self,
        pass: &mut Pass,
        wait_min: i64,
        due_at: impl Fn(Window) -> Option<Timestamp>,
        cx: &TaskContext,
    ) -> Result<Looked, Failure> {
        let naming = self.windows.naming();
        let last = pass.to.saturating_sub(wait_min);
        let limit = cx.portion.left();
        let mut looked = Looked::default();
        let from = mem::take(&mut pass.key);
        cx.tables.scan(self.index, &from, None, &mut |key, _, _| {
            if pass.skip > 0 {
                pass.skip -= 1;
                return ControlFlow::Continue(());
            }
            let (window, inner) = naming.read_by_time(&self.windows, key);
            let name = naming.time(window);
            if name > last {
                pass.leave(name, name.saturating_add(wait_min));
                return ControlFlow::Break(());
            }
            match due_at(window) {
                Some(at) if at <= pass.to && looked.due.len() == limit => {
                    looked.rest = Some(key.into());
                    return ControlFlow::Break(());
                }
                Some(at) if at <= pass.to => {
                    looked.due.push((window, store_key(naming, window, key, inner)));
                }
                Some(at) => pass.leave(name, at),
                None => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(looked)
    }

    /// The by-time store key of a window.
    fn place_of(&self, store_key: &[u8]) -> Vec<u8> {
        match self.windows.naming() {
            Naming::Start => store_key.into(),
            naming => by_time(store_key, naming.suffix_len()),
        }
    }

    pub(super) fn read_window(
        &self,
        window: Window,
        store_key: &[u8],
        cx: &mut TaskContext,
    ) -> Result<Option<Record<Windowed<K>, A>>, Failure> {
        let naming = self.windows.naming();
        let Some((timestamp, bytes)) = cx.tables.get(self.index, store_key)? else {
            return Ok(None);
        };
        let value = self.read(window, store_key, bytes)?;
        let key = read_key(&self.table, naming.read(&self.windows, store_key).1)?;
        let key = Windowed { key, start: window.start, end: window.end };
        Ok(Some(Record { key, value, timestamp }))
    }

    /// When idle input can close the first open window, on the monotonic clock. If no receiver
    /// needs closed windows, when it can delete the first one.
    fn idle_close_at(&self, cx: &TaskContext) -> Option<Timestamp> {
        let idle_after = self.windows.idle_after_ms()?;
        let clock = &cx.clocks[self.clock];
        let next = match self.ports.closed.is_connected() {
            true => cx.states[self.first_state].open.next_close,
            false => cx.states[self.state].retained.next_delete,
        };
        if clock.time == StreamClock::UNKNOWN || next == Timestamp::MAX {
            return None;
        }
        // If the table was not searched yet, search when the input has been idle long enough.
        let next = match next {
            StreamClock::UNKNOWN => clock.time,
            // This operator has passed it, but others on the table have not.
            next if next <= clock.time => return None,
            next => next,
        };
        let reached = clock.anchor.saturating_add(next.saturating_sub(clock.time).max(0));
        Some(reached.max(clock.arrival.saturating_add(idle_after)))
    }
}

impl<K, A, W, F, M> Hook for WindowAggregate<K, A, W, F, M>
where
    K: Clone + 'static,
    A: 'static,
    W: Windows,
    F: Send + Sync,
    M: Send + Sync,
{
    /// What was due by the least of the stream times was closed before the commit, except for what
    /// an unfinished pass has left.
    fn on_resume(&self, unfinished: &[(ClockIndex, Pass)], cx: &mut TaskContext) {
        cx.states[self.first_state].open.closed_at = self.passed(cx);
        // It is committed under the name of the first operator's stream time.
        let own = unfinished.iter().filter(|(clock, _)| self.is_first() && *clock == self.clock);
        for (_, pass) in own {
            cx.states[self.state].open.closing = Some(Box::new(pass.clone()));
        }
    }

    fn on_due(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.close(cx)
    }

    fn closing(&self, cx: &TaskContext) -> Option<Closing> {
        // The first operator reports it for all operators on the table.
        if !self.is_first() {
            return None;
        }
        let pass = cx.states[self.state].open.closing.as_deref().cloned();
        pass.map(|pass| Closing { clock: self.clock, table: self.index, pass })
    }

    /// Stream time follows the clock only as far as it is known that nothing else has arrived.
    /// Waiting records, here or in the log, come first, however long they have waited.
    fn on_time(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        let nothing_until = cx.nothing_until;
        if self.idle_close_at(cx).is_none_or(|at| at > nothing_until) {
            return Ok(());
        }
        let clock = &mut cx.clocks[self.clock];
        clock.time += nothing_until - clock.anchor;
        clock.anchor = nothing_until;
        self.close(cx)
    }

    fn minds_idleness(&self) -> bool {
        self.windows.idle_after_ms().is_some()
    }

    fn next_wakeup(&self, cx: &TaskContext) -> Option<Timestamp> {
        let at = self.idle_close_at(cx)?;
        // It is due, but it is not yet known whether something has arrived. Look again soon.
        Some(if at > cx.elapsed { at } else { cx.elapsed.saturating_add(LOOK_AGAIN_MS) })
    }
}

/// How many milliseconds to wait before checking again whether the input is really idle.
const LOOK_AGAIN_MS: i64 = 10;

/// Windows that are due.
#[derive(Default)]
struct Looked {
    /// With their store keys.
    due: Vec<(Window, Box<[u8]>)>,
    /// The by-time store key of the first one that did not fit.
    rest: Option<Vec<u8>>,
}

/// The store key of the window's value, from its by-time key.
fn store_key(naming: Naming, window: Window, found: &[u8], inner: &[u8]) -> Box<[u8]> {
    if naming == Naming::Start {
        return found.into();
    }
    let mut key = Vec::with_capacity(found.len());
    let written: Result<(), std::convert::Infallible> = naming.write(window, &mut key, |out| {
        out.extend_from_slice(inner);
        Ok(())
    });
    let Ok(()) = written;
    debug_assert_eq!(by_time(&key, naming.suffix_len()), found);
    key.into()
}
