//! Closing windows, each once, and forgetting them.

use std::ops::ControlFlow;

use super::WindowAggregate;
use crate::chain::Receive;
use crate::changelog::by_time;
use crate::cx::{Clock, Cx};
use crate::error::Failure;
use crate::operators::Hook;
use crate::operators::table_access::{read, read_key};
use crate::record::{Record, Timestamp};
use crate::window::{Naming, Window, Windowed, Windows};

impl<K, A, W, F, M> WindowAggregate<K, A, W, F, M>
where
    K: Clone + 'static,
    A: 'static,
    W: Windows,
{
    /// Closes every window whose time has come, and forgets those that nobody needs any more.
    pub(super) fn close(&self, cx: &mut Cx) -> Result<(), Failure> {
        let clock = &cx.clocks[self.clock];
        let time = clock.time;
        if time == Clock::UNKNOWN {
            return Ok(());
        }
        if self.ports.closed.is_connected() && clock.next_close <= time {
            self.send_closed(time, cx)?;
        }
        let latest = self.latest(cx);
        if cx.clocks[self.clock].next_forget <= latest {
            self.forget(latest, cx)?;
        }
        Ok(())
    }

    /// The stream time at which a window is closed; never before the time that its name begins
    /// with, by which windows are looked for.
    fn closes_at(&self, window: Window) -> Timestamp {
        let time = self.windows.naming().time(window);
        match self.windows.is_uniform() {
            true => time.saturating_add(self.windows.close_after_ms()),
            false => self.windows.closes_at(window).max(time),
        }
    }

    /// The stream time at which a window is forgotten.
    pub(super) fn forgotten_at(&self, window: Window) -> Timestamp {
        let time = self.windows.naming().time(window);
        let kept_to = time.saturating_add(self.windows.keep_for_ms());
        kept_to.max(self.closes_at(window))
    }

    /// Notes that a window is there, to be closed and forgotten.
    pub(super) fn note(&self, window: Window, clock: &mut Clock) {
        let time = self.windows.naming().time(window);
        clock.first_open = clock.first_open.min(time);
        clock.next_close = clock.next_close.min(self.closes_at(window));
        clock.first_kept = clock.first_kept.min(time);
        clock.next_forget = clock.next_forget.min(self.forgotten_at(window));
    }

    /// Stream time as far as any operator on the table knows it.
    pub(super) fn latest(&self, cx: &Cx) -> Timestamp {
        let times = self.siblings.iter().map(|clock| cx.clocks[*clock].time);
        times.fold(cx.clocks[self.clock].time, Timestamp::max)
    }

    /// Sends the windows that were not closed yet and are at `time`.
    fn send_closed(&self, time: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let Clock { first_open, closed_at, .. } = cx.clocks[self.clock];
        let is_uniform = self.windows.is_uniform();
        let wait_min = if is_uniform { self.windows.close_after_ms() } else { 0 };
        // What was closed by the stream time that a restart begins with was sent then.
        let from = match first_open {
            Clock::UNKNOWN if is_uniform && closed_at != Clock::UNKNOWN => closed_at - wait_min + 1,
            from => from,
        };
        let due_at = |window| Some(self.closes_at(window)).filter(|at| *at > closed_at);
        let looked = self.look(from, time, wait_min, due_at, cx)?;
        let clock = &mut cx.clocks[self.clock];
        (clock.first_open, clock.next_close) = (looked.first, looked.next);
        clock.closed_at = time;
        for (window, store_key) in looked.due {
            if let Some(record) = self.read_window(window, &store_key, cx)? {
                self.ports.closed.receive(record, cx)?;
            }
        }
        Ok(())
    }

    fn forget(&self, latest: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let kept = self.siblings.iter().map(|clock| cx.clocks[*clock].first_kept);
        let first = kept.fold(cx.clocks[self.clock].first_kept, Timestamp::min);
        let due_at = |window| Some(self.forgotten_at(window));
        let looked = self.look(first, latest, self.windows.keep_for_ms(), due_at, cx)?;
        let clock = &mut cx.clocks[self.clock];
        (clock.first_kept, clock.next_forget) = (looked.first, looked.next);
        for (_, store_key) in looked.due {
            cx.tables.delete(self.index, &store_key);
        }
        Ok(())
    }

    /// Looks at the windows whose names begin with `from` or later for those that are due at
    /// `time`; none is due less than `wait_min` after what its name begins with. Where `due_at`
    /// says nothing, the window does not matter any more.
    fn look(
        &self,
        from: Timestamp,
        time: Timestamp,
        wait_min: i64,
        due_at: impl Fn(Window) -> Option<Timestamp>,
        cx: &Cx,
    ) -> Result<Looked, Failure> {
        let (naming, last) = (self.windows.naming(), time.saturating_sub(wait_min));
        let mut looked = Looked::default();
        cx.tables.scan(self.index, &naming.lower_bound(from), None, &mut |key, _, _| {
            let (window, inner) = naming.read_by_time(&self.windows, key);
            let name = naming.time(window);
            if name > last {
                looked.leave(name, name.saturating_add(wait_min));
                return ControlFlow::Break(());
            }
            match due_at(window) {
                Some(at) if at <= time => {
                    looked.due.push((window, store_key(naming, window, key, inner)));
                }
                Some(at) => looked.leave(name, at),
                None => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(looked)
    }

    fn read_window(
        &self,
        window: Window,
        store_key: &[u8],
        cx: &mut Cx,
    ) -> Result<Option<Record<Windowed<K>, A>>, Failure> {
        let naming = self.windows.naming();
        let Some((timestamp, bytes)) = cx.tables.get(self.index, store_key)? else {
            return Ok(None);
        };
        let value = read(&self.table, bytes)?;
        let key = read_key(&self.table, naming.read(&self.windows, store_key).1)?;
        let key = Windowed { key, start: window.start, end: window.end };
        Ok(Some(Record { key, value, timestamp }))
    }

    /// When the first open window can be closed by idle input; where nobody waits for windows to
    /// close, when the first one can be forgotten. By the clock that never goes back.
    fn idle_close_at(&self, cx: &Cx) -> Option<Timestamp> {
        let idle_after = self.windows.idle_after_ms()?;
        let clock = &cx.clocks[self.clock];
        let next = match self.ports.closed.is_connected() {
            true => clock.next_close,
            false => clock.next_forget,
        };
        if clock.time == Clock::UNKNOWN || next == Timestamp::MAX {
            return None;
        }
        // Not looked yet: look when the input has been idle long enough.
        let next = if next == Clock::UNKNOWN { clock.time } else { next };
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
    /// Stream time goes on with the clock only as far as it is known that nothing else has come:
    /// records that wait, here or at the log, come first, however long they have waited.
    fn on_time(&self, cx: &mut Cx) -> Result<(), Failure> {
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

    fn next_wakeup(&self, cx: &Cx) -> Option<Timestamp> {
        let at = self.idle_close_at(cx)?;
        // It is time, but not known whether nothing else has come: that is seen before long.
        Some(if at > cx.elapsed { at } else { cx.elapsed.saturating_add(LOOK_AGAIN_MS) })
    }
}

/// After how many milliseconds it is looked again whether the input is idle indeed.
const LOOK_AGAIN_MS: i64 = 10;

/// What was found among the windows that wait for their time.
struct Looked {
    /// Those that are due, with their store keys.
    due: Vec<(Window, Box<[u8]>)>,
    /// What the names of the others begin with, at the least.
    first: Timestamp,
    /// When the next of the others is due, at the soonest.
    next: Timestamp,
}

impl Default for Looked {
    fn default() -> Self {
        Self { due: Vec::new(), first: Timestamp::MAX, next: Timestamp::MAX }
    }
}

impl Looked {
    fn leave(&mut self, name: Timestamp, due_at: Timestamp) {
        self.first = self.first.min(name);
        self.next = self.next.min(due_at);
    }
}

/// The key under which the window's value is, from the key found by time.
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
