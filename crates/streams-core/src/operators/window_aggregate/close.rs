//! Closing windows, each once, and forgetting them.

use std::ops::ControlFlow;

use super::WindowAggregate;
use crate::chain::Receive;
use crate::changelog::by_time;
use crate::cx::{Clock, Cx};
use crate::due::Frontier;
use crate::error::Failure;
use crate::operators::table_access::{read, read_key};
use crate::operators::{Closing, Hook};
use crate::record::{Record, Timestamp};
use crate::window::{Naming, Window, Windowed, Windows};

impl<K, A, W, F, M> WindowAggregate<K, A, W, F, M>
where
    K: Clone + 'static,
    A: 'static,
    W: Windows,
{
    /// Closes every window whose time has come, and forgets those that nobody needs any more; what
    /// is more than a portion, the next time.
    pub(super) fn close(&self, cx: &mut Cx) -> Result<(), Failure> {
        let time = self.decides(cx);
        if time == Clock::UNKNOWN {
            return Ok(());
        }
        let is_due =
            self.ports.closed.is_connected() && cx.clocks[self.first_clock].next_close <= time;
        if is_due && !self.send_closed(time, cx)? {
            // Nothing is forgotten before it was closed, but it counts as gone.
            let clock = &mut cx.clocks[self.clock];
            if clock.next_forget <= time {
                clock.forgetting = Some(time);
            }
            return Ok(());
        }
        if cx.clocks[self.clock].next_forget <= time {
            self.forget(time, cx)?;
        }
        Ok(())
    }

    /// The stream time that decides what becomes of windows. Where they are sent when they close,
    /// it is what all operators on the table have passed: a window is complete when none of them
    /// takes another record for it. Otherwise it is what any of them knows.
    fn decides(&self, cx: &Cx) -> Timestamp {
        let own = cx.clocks[self.clock].time;
        let times = self.siblings.iter().map(|clock| cx.clocks[*clock].time);
        match self.ports.closed.is_connected() {
            true => times.fold(own, Timestamp::min),
            false => times.fold(own, Timestamp::max),
        }
    }

    /// Whether a window changes no more: it was sent, or is about to be, or is forgotten. However
    /// long it is kept, it would be sent again, with the same records.
    pub(super) fn is_done(&self, window: Window, cx: &Cx) -> bool {
        let until = match self.ports.closed.is_connected() {
            true => self.closes_at(window),
            false => self.forgotten_at(window),
        };
        until <= self.decides(cx)
    }

    /// Whether a window counts as forgotten although it may lie there still.
    pub(super) fn is_gone(&self, window: Window, cx: &Cx) -> bool {
        let forgetting = self.siblings.iter().filter_map(|clock| cx.clocks[*clock].forgetting);
        forgetting.max().is_some_and(|time| self.forgotten_at(window) <= time)
    }

    /// How long after what its name begins with a window is closed at the soonest.
    fn close_wait_min(&self) -> i64 {
        if self.windows.is_uniform() { self.windows.close_after_ms() } else { 0 }
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
    fn forgotten_at(&self, window: Window) -> Timestamp {
        let time = self.windows.naming().time(window);
        let kept_to = time.saturating_add(self.windows.keep_for_ms());
        kept_to.max(self.closes_at(window))
    }

    /// Notes that a window is there, to be closed and forgotten.
    pub(super) fn note(&self, window: Window, cx: &mut Cx) {
        let time = self.windows.naming().time(window);
        let (closes_at, forgotten_at) = (self.closes_at(window), self.forgotten_at(window));
        let clock = &mut cx.clocks[self.first_clock];
        clock.next_close = clock.next_close.min(closes_at);
        // What is being closed lies behind the place that closing has come to.
        if clock.closing.is_none() {
            clock.first_open.lower(time);
        }
        let clock = &mut cx.clocks[self.clock];
        clock.next_forget = clock.next_forget.min(forgotten_at);
        if clock.forgetting.is_none() {
            clock.first_kept.lower(time);
        }
    }

    /// Sends the windows that were not closed yet and are at `time`. Whether none is left.
    fn send_closed(&self, time: Timestamp, cx: &mut Cx) -> Result<bool, Failure> {
        let (naming, wait_min) = (self.windows.naming(), self.close_wait_min());
        let (is_uniform, clock) = (self.windows.is_uniform(), &cx.clocks[self.first_clock]);
        let (closed_at, goes_on) = (clock.closed_at, clock.closing.is_some());
        let from = match &clock.first_open {
            // What was closed by the stream time that a restart begins with was sent then.
            open if *open == Frontier::unknown() && is_uniform && closed_at != Clock::UNKNOWN => {
                naming.lower_bound(closed_at - wait_min + 1)
            }
            open => start(naming, open),
        };
        // Of different lengths, a window that was closed before may lie behind one that was not.
        let due_at =
            |window| Some(self.closes_at(window)).filter(|at| is_uniform || *at > closed_at);
        let search = Search { from: &from, skip: clock.first_open.skip, time, wait_min };
        let looked = self.look(&search, due_at, cx)?;
        for (window, store_key) in &looked.due {
            if !cx.takes_one() {
                let clock = &mut cx.clocks[self.first_clock];
                (clock.first_open, clock.closing) = (self.frontier(*window, store_key), Some(time));
                return Ok(false);
            }
            if let Some(record) = self.read_window(*window, store_key, cx)? {
                self.ports.closed.receive(record, cx)?;
            }
        }
        let clock = &mut cx.clocks[self.first_clock];
        if let Some(rest) = looked.rest {
            (clock.first_open, clock.closing) = (rest, Some(time));
            cx.portion.is_used_up = true;
            return Ok(false);
        }
        (clock.first_open, clock.next_close) = looked.left(goes_on && !is_uniform);
        (clock.closed_at, clock.closing) = (time, None);
        Ok(true)
    }

    fn forget(&self, time: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let (naming, wait_min) = (self.windows.naming(), self.windows.keep_for_ms());
        let kept = self.siblings.iter().chain([&self.clock]);
        let from = kept.map(|clock| start(naming, &cx.clocks[*clock].first_kept)).min();
        let goes_on = cx.clocks[self.clock].first_kept.key().is_some();
        let due_at = |window| Some(self.forgotten_at(window));
        let search = Search { from: &from.unwrap_or_default(), skip: 0, time, wait_min };
        let looked = self.look(&search, due_at, cx)?;
        for (window, store_key) in &looked.due {
            if !cx.takes_one() {
                let clock = &mut cx.clocks[self.clock];
                (clock.first_kept, clock.forgetting) =
                    (self.frontier(*window, store_key), Some(time));
                return Ok(());
            }
            cx.tables.delete(self.index, store_key);
        }
        let clock = &mut cx.clocks[self.clock];
        if let Some(rest) = looked.rest {
            (clock.first_kept, clock.forgetting) = (rest, Some(time));
            cx.portion.is_used_up = true;
            return Ok(());
        }
        (clock.first_kept, clock.next_forget) = looked.left(goes_on && !self.windows.is_uniform());
        clock.forgetting = None;
        Ok(())
    }

    /// Looks for windows that are due, as many as the portion has room for. Where `due_at` says
    /// nothing, the window does not matter any more.
    fn look(
        &self,
        search: &Search<'_>,
        due_at: impl Fn(Window) -> Option<Timestamp>,
        cx: &Cx,
    ) -> Result<Looked, Failure> {
        let (naming, limit) = (self.windows.naming(), cx.portion.left());
        let last = search.time.saturating_sub(search.wait_min);
        let (mut looked, mut skip) = (Looked::default(), search.skip);
        cx.tables.scan(self.index, search.from, None, &mut |key, _, _| {
            let (window, inner) = naming.read_by_time(&self.windows, key);
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            let name = naming.time(window);
            if name > last {
                looked.leave(name, name.saturating_add(search.wait_min));
                return ControlFlow::Break(());
            }
            match due_at(window) {
                Some(at) if at <= search.time => {
                    if looked.due.len() == limit {
                        looked.rest = Some(Frontier::at_entry(name, key));
                        return ControlFlow::Break(());
                    }
                    looked.due.push((window, store_key(naming, window, key, inner)));
                }
                Some(at) => looked.leave(name, at),
                None => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(looked)
    }

    /// This window and those after it wait.
    fn frontier(&self, window: Window, store_key: &[u8]) -> Frontier {
        let naming = self.windows.naming();
        let time = naming.time(window);
        match naming {
            Naming::Start => Frontier::at_entry(time, store_key),
            _ => Frontier::at_entry(time, by_time(store_key, naming.suffix_len())),
        }
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
            true => cx.clocks[self.first_clock].next_close,
            false => clock.next_forget,
        };
        if clock.time == Clock::UNKNOWN || next == Timestamp::MAX {
            return None;
        }
        // This operator has passed it, and others on the table have not.
        if next != Clock::UNKNOWN && clock.time >= next {
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
    /// What all of them had passed at the commit was closed then.
    fn on_resume(&self, cx: &mut Cx) {
        cx.clocks[self.first_clock].closed_at = self.decides(cx);
    }

    fn minds_idleness(&self) -> bool {
        self.windows.idle_after_ms().is_some()
    }

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

    fn on_due(&self, cx: &mut Cx) -> Result<(), Failure> {
        self.close(cx)
    }

    fn closing<'c>(&self, cx: &'c Cx) -> Option<Closing<'c>> {
        // One for all operators on the table.
        if self.clock != self.first_clock {
            return None;
        }
        let Clock { first_open, closing, closed_at, .. } = &cx.clocks[self.clock];
        closing.and(first_open.key()).map(|key| Closing {
            clock: self.clock,
            table: self.index,
            key,
            skip: first_open.skip,
            // Where the order of names is that of closing, the place says everything.
            closed_at: (!self.windows.is_uniform()).then_some(*closed_at),
        })
    }

    fn next_wakeup(&self, cx: &Cx) -> Option<Timestamp> {
        let at = self.idle_close_at(cx)?;
        // It is time, but not known whether nothing else has come: that is seen before long.
        Some(if at > cx.elapsed { at } else { cx.elapsed.saturating_add(LOOK_AGAIN_MS) })
    }
}

/// After how many milliseconds it is looked again whether the input is idle indeed.
const LOOK_AGAIN_MS: i64 = 10;

/// What windows are looked for.
struct Search<'a> {
    /// The store key by time to begin at.
    from: &'a [u8],
    /// How many from there on do not count.
    skip: u64,
    /// Those that are due at this stream time.
    time: Timestamp,
    /// None is due less than this after what its name begins with.
    wait_min: i64,
}

/// What was found among the windows that wait for their time.
struct Looked {
    /// Those that are due, with their store keys, in the order of their names.
    due: Vec<(Window, Box<[u8]>)>,
    /// Where the first one is that is due, and for which there is no room.
    rest: Option<Frontier>,
    /// What the names of those that are not due begin with, at the least.
    first: Timestamp,
    /// When the next of them is due, at the soonest.
    next: Timestamp,
}

impl Default for Looked {
    fn default() -> Self {
        Self { due: Vec::new(), rest: None, first: Timestamp::MAX, next: Timestamp::MAX }
    }
}

impl Looked {
    fn leave(&mut self, name: Timestamp, due_at: Timestamp) {
        self.first = self.first.min(name);
        self.next = self.next.min(due_at);
    }

    /// What is left when all that was due is done, and when the next of it is due. What lies before
    /// the place where an earlier portion ended was not seen now: it is looked at next time.
    fn left(&self, has_unseen: bool) -> (Frontier, Timestamp) {
        match has_unseen {
            true => (Frontier::unknown(), Clock::UNKNOWN),
            false => (Frontier::at(self.first), self.next),
        }
    }
}

/// Where what waits begins.
fn start(naming: Naming, first: &Frontier) -> Vec<u8> {
    first.key().map_or_else(|| naming.lower_bound(first.time), <[u8]>::to_vec)
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
