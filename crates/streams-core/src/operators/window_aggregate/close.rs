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
        let (close_after, keep_for) = (self.windows.close_after_ms(), self.windows.keep_for_ms());
        let time = cx.clocks[self.clock].time;
        if time == Clock::UNKNOWN {
            return Ok(());
        }
        let mut forget_to = self.latest(cx).saturating_sub(keep_for);
        if self.ports.closed.is_connected() {
            // Nothing is forgotten before it was closed.
            let close_to = self.passed(cx).saturating_sub(close_after);
            forget_to = forget_to.min(close_to);
            if cx.clocks[self.first_clock].first_open.time <= close_to
                && close_to > Clock::UNKNOWN
                && !self.send_closed(close_to, cx)?
            {
                let clock = &mut cx.clocks[self.clock];
                if clock.first_kept.time <= forget_to {
                    clock.forgetting = Some(forget_to);
                }
                return Ok(());
            }
        }
        if cx.clocks[self.clock].first_kept.time <= forget_to {
            self.forget(forget_to, cx)?;
        }
        Ok(())
    }

    /// Stream time as all operators on the table have passed it: a window is complete when none of
    /// them takes another record for it.
    fn passed(&self, cx: &Cx) -> Timestamp {
        let times = self.siblings.iter().map(|clock| cx.clocks[*clock].time);
        times.fold(cx.clocks[self.clock].time, Timestamp::min)
    }

    /// Stream time as far as any operator on the table knows it.
    pub(super) fn latest(&self, cx: &Cx) -> Timestamp {
        let times = self.siblings.iter().map(|clock| cx.clocks[*clock].time);
        times.fold(cx.clocks[self.clock].time, Timestamp::max)
    }

    /// Windows up to here count as forgotten, whether they lie there still or not.
    pub(super) fn forgotten(&self, cx: &Cx) -> Timestamp {
        let times = self.siblings.iter().filter_map(|clock| cx.clocks[*clock].forgetting);
        times.max().unwrap_or(Clock::UNKNOWN)
    }

    /// Sends the windows that were not closed yet and whose name begins at `to` or before. Whether
    /// none is left.
    fn send_closed(&self, to: Timestamp, cx: &mut Cx) -> Result<bool, Failure> {
        let (naming, clock) = (self.windows.naming(), &cx.clocks[self.first_clock]);
        let from = match &clock.first_open {
            // What was closed by the stream time that a restart begins with was sent then.
            open if *open == Frontier::unknown() && clock.closed_at != Clock::UNKNOWN => {
                naming.lower_bound(clock.closed_at - self.windows.close_after_ms() + 1)
            }
            open => start(naming, open),
        };
        let found = self.scan(&from, clock.first_open.skip, to, cx)?;
        for (window, store_key) in &found.windows {
            if !cx.takes_one() {
                let clock = &mut cx.clocks[self.first_clock];
                clock.first_open = self.frontier(*window, store_key);
                clock.closing = Some(to);
                return Ok(false);
            }
            if let Some(record) = self.read_window(*window, store_key, cx)? {
                self.ports.closed.receive(record, cx)?;
            }
        }
        let (is_done, next) = self.rest(found, to, cx);
        let clock = &mut cx.clocks[self.first_clock];
        clock.first_open = next;
        if is_done {
            clock.closed_at = to + self.windows.close_after_ms();
            clock.closing = None;
        } else {
            clock.closing = Some(to);
        }
        Ok(is_done)
    }

    /// Whether a window waits to be closed although stream time has passed it.
    pub(super) fn is_left_to_close(&self, window: Window, store_key: &[u8], cx: &Cx) -> bool {
        let (naming, clock) = (self.windows.naming(), &cx.clocks[self.first_clock]);
        let is_due = clock.closing.is_some_and(|to| naming.time(window) <= to);
        is_due && {
            let place = by_time(store_key, naming.suffix_len());
            clock.first_open.key().is_none_or(|first| first <= &*place)
        }
    }

    fn forget(&self, to: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let naming = self.windows.naming();
        let kept = self.siblings.iter().chain([&self.clock]);
        let first = kept.map(|clock| start(naming, &cx.clocks[*clock].first_kept)).min();
        let found = self.scan(&first.unwrap_or_default(), 0, to, cx)?;
        for (window, store_key) in &found.windows {
            if !cx.takes_one() {
                let clock = &mut cx.clocks[self.clock];
                clock.first_kept = self.frontier(*window, store_key);
                clock.forgetting = Some(to);
                return Ok(());
            }
            cx.tables.delete(self.index, store_key);
        }
        let (is_done, next) = self.rest(found, to, cx);
        let clock = &mut cx.clocks[self.clock];
        clock.first_kept = next;
        clock.forgetting = (!is_done).then_some(to);
        Ok(())
    }

    /// The windows whose names begin at `to` or before, as many as the portion has room for: from
    /// the key `from` on, without the first `skip`.
    fn scan(&self, from: &[u8], skip: u64, to: Timestamp, cx: &Cx) -> Result<Found, Failure> {
        let (naming, limit) = (self.windows.naming(), cx.portion.left());
        let (mut found, mut skip) = (Found { windows: Vec::new(), rest: None }, skip);
        cx.tables.scan(self.index, from, None, &mut |key, _, _| {
            let (window, inner) = naming.read_by_time(&self.windows, key);
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            if found.windows.len() == limit || naming.time(window) > to {
                found.rest = Some((naming.time(window), key.into()));
                return ControlFlow::Break(());
            }
            found.windows.push((window, store_key(naming, window, key, inner)));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Whether nothing up to `to` was left, and what waits now.
    fn rest(&self, found: Found, to: Timestamp, cx: &mut Cx) -> (bool, Frontier) {
        match found.rest {
            None => (true, Frontier::at(Timestamp::MAX)),
            Some((time, _)) if time > to => (true, Frontier::at(time)),
            Some((time, key)) => {
                cx.portion.is_used_up = true;
                (false, Frontier::at_entry(time, key))
            }
        }
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

    pub(super) fn read_window(
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

    /// The wall-clock moment at which idle input lets the first open window close; where nobody
    /// waits for windows to close, the first one be forgotten.
    fn idle_close_at(&self, cx: &Cx) -> Option<Timestamp> {
        let idle_after = self.windows.idle_after_ms()?;
        let clock = &cx.clocks[self.clock];
        let (first, after) = match self.ports.closed.is_connected() {
            true => (cx.clocks[self.first_clock].first_open.time, self.windows.close_after_ms()),
            false => (clock.first_kept.time, self.windows.keep_for_ms()),
        };
        if clock.time == Clock::UNKNOWN || first == Timestamp::MAX {
            return None;
        }
        // Not looked yet: look when the input has been idle long enough.
        let due = if first == Clock::UNKNOWN { clock.time } else { first.saturating_add(after) };
        // This operator has passed it, and others on the table have not.
        if first != Clock::UNKNOWN && clock.time >= due {
            return None;
        }
        let reached = clock.anchor.saturating_add(due.saturating_sub(clock.time).max(0));
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
        cx.clocks[self.first_clock].closed_at = self.passed(cx);
    }

    fn on_time(&self, cx: &mut Cx) -> Result<(), Failure> {
        if self.idle_close_at(cx).is_none_or(|at| at > cx.now) {
            return Ok(());
        }
        let now = cx.now;
        let clock = &mut cx.clocks[self.clock];
        clock.time += now - clock.anchor;
        clock.anchor = now;
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
        let Clock { first_open, closing, .. } = &cx.clocks[self.clock];
        closing.and(first_open.key()).map(|key| Closing {
            clock: self.clock,
            table: self.index,
            key,
            skip: first_open.skip,
        })
    }

    fn next_wakeup(&self, cx: &Cx) -> Option<Timestamp> {
        self.idle_close_at(cx)
    }
}

/// Windows in the order of their names.
struct Found {
    /// With their store keys.
    windows: Vec<(Window, Box<[u8]>)>,
    /// The first one after them: what its name begins with, and its key by time.
    rest: Option<(Timestamp, Box<[u8]>)>,
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
