//! Closing windows, each once, and forgetting them.

use std::ops::ControlFlow;

use super::WindowAggregate;
use crate::chain::Receive;
use crate::changelog::by_time;
use crate::cx::{Clock, Cx};
use crate::error::Failure;
use crate::operators::Hook;
use crate::operators::table_access::read_key;
use crate::record::{Headers, Record, Timestamp};
use crate::window::{Naming, Window, Windowed, Windows};

impl<K, A, W, F, M> WindowAggregate<K, A, W, F, M>
where
    K: Clone + 'static,
    A: 'static,
    W: Windows,
{
    /// Closes every window whose time has come, and forgets those that nobody needs any more.
    pub(super) fn close(&self, cx: &mut Cx) -> Result<(), Failure> {
        let (close_after, keep_for) = (self.windows.close_after_ms(), self.windows.keep_for_ms());
        let time = cx.clocks[self.clock].time;
        if time == Clock::UNKNOWN {
            return Ok(());
        }
        let forget_to = self.latest(cx).saturating_sub(keep_for);
        if self.ports.closed.is_connected()
            && cx.clocks[self.clock].first_open <= time - close_after
        {
            self.send_closed(time - close_after, cx)?;
        }
        if cx.clocks[self.clock].first_kept <= forget_to {
            self.forget(forget_to, cx)?;
        }
        Ok(())
    }

    /// Stream time as far as any operator on the table knows it.
    pub(super) fn latest(&self, cx: &Cx) -> Timestamp {
        let times = self.siblings.iter().map(|clock| cx.clocks[*clock].time);
        times.fold(cx.clocks[self.clock].time, Timestamp::max)
    }

    /// Sends the windows that were not closed yet and whose name begins at `to` or before.
    fn send_closed(&self, to: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let clock = &cx.clocks[self.clock];
        // What was closed by the stream time that a restart begins with was sent then.
        let from = match clock.first_open {
            Clock::UNKNOWN if clock.closed_at == Clock::UNKNOWN => 0,
            Clock::UNKNOWN => clock.closed_at - self.windows.close_after_ms() + 1,
            first => first,
        };
        let (closed, next) = self.scan(from, to, cx)?;
        let clock = &mut cx.clocks[self.clock];
        clock.first_open = next;
        clock.closed_at = to + self.windows.close_after_ms();
        // A later record closes them, and they are not its results: they have no headers.
        cx.with_headers(Headers::new(), |cx| {
            for (window, store_key) in closed {
                if let Some(record) = self.read_window(window, &store_key, cx)? {
                    self.ports.closed.receive(record, cx)?;
                }
            }
            Ok(())
        })
    }

    fn forget(&self, to: Timestamp, cx: &mut Cx) -> Result<(), Failure> {
        let kept = self.siblings.iter().map(|clock| cx.clocks[*clock].first_kept);
        let first = kept.fold(cx.clocks[self.clock].first_kept, Timestamp::min);
        let (old, next) = self.scan(first, to, cx)?;
        cx.clocks[self.clock].first_kept = next;
        for (_, store_key) in old {
            cx.tables.delete(self.index, &store_key);
        }
        Ok(())
    }

    /// The windows whose names begin between `from` and `to`, with their store keys, and where the
    /// first one after them begins.
    fn scan(&self, from: Timestamp, to: Timestamp, cx: &Cx) -> Result<(Found, Timestamp), Failure> {
        let naming = self.windows.naming();
        let (mut found, mut next) = (Vec::new(), Timestamp::MAX);
        cx.tables.scan(self.index, &naming.lower_bound(from), None, &mut |key, _, _| {
            let (window, inner) = naming.read_by_time(&self.windows, key);
            if naming.time(window) > to {
                next = naming.time(window);
                return ControlFlow::Break(());
            }
            found.push((window, store_key(naming, window, key, inner)));
            ControlFlow::Continue(())
        })?;
        Ok((found, next))
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
        let value = self.read(window, store_key, bytes)?;
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
            true => (clock.first_open, self.windows.close_after_ms()),
            false => (clock.first_kept, self.windows.keep_for_ms()),
        };
        if clock.time == Clock::UNKNOWN || first == Timestamp::MAX {
            return None;
        }
        // Not looked yet: look when the input has been idle long enough.
        let due = if first == Clock::UNKNOWN { clock.time } else { first.saturating_add(after) };
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

    fn next_wakeup(&self, cx: &Cx) -> Option<Timestamp> {
        self.idle_close_at(cx)
    }
}

/// Windows with their store keys.
type Found = Vec<(Window, Box<[u8]>)>;

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
