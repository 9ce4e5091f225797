//! When windows are closed and deleted, for their writers and their readers.

use std::sync::Arc;

use super::{Sibling, WindowPorts};
use crate::reader::KeptWindows;
use crate::record::Timestamp;
use crate::stream_clock::StreamClock;
use crate::window::{Naming, Window, Windows};

/// The stream time at which a window closes. It is never before the time with which its name
/// begins, because windows are searched by that.
#[inline]
pub(super) fn closes_at(windows: &impl Windows, window: Window) -> Timestamp {
    let time = windows.naming().time(window);
    match windows.is_uniform() {
        true => time.saturating_add(windows.close_after_ms()),
        false => windows.closes_at(window).max(time),
    }
}

/// The stream time at which a window is deleted.
#[inline]
pub(super) fn forgotten_at(windows: &impl Windows, window: Window) -> Timestamp {
    let time = windows.naming().time(window);
    let kept_to = time.saturating_add(windows.keep_for_ms());
    kept_to.max(closes_at(windows, window))
}

/// The least stream time of those operators on a table that have had a record. A window is complete
/// when none of them accepts another record for it.
#[inline]
pub(super) fn passed(operators: &[Sibling], clocks: &[StreamClock]) -> Timestamp {
    if let [only] = operators {
        return clocks[only.clock].time;
    }
    let times = operators.iter().map(|one| clocks[one.clock].time);
    times.filter(|time| *time != StreamClock::UNKNOWN).min().unwrap_or(StreamClock::UNKNOWN)
}

/// The stream time up to which windows are deleted: the highest that any operator on the table
/// knows, but no window is deleted before it is closed.
#[inline]
pub(super) fn forget_at(
    operators: &[Sibling],
    sends_closed: bool,
    clocks: &[StreamClock],
) -> Timestamp {
    if sends_closed || operators.len() == 1 {
        return passed(operators, clocks);
    }
    operators.iter().map(|one| clocks[one.clock].time).max().unwrap_or(StreamClock::UNKNOWN)
}

/// The windows of a table, for its readers.
pub(crate) struct WindowTimes<K, A, W> {
    windows: W,
    operators: Arc<[Sibling]>,
    ports: WindowPorts<K, A>,
}

impl<K: 'static, A: 'static, W: Windows> WindowTimes<K, A, W> {
    /// `operators` are all operators that write the table.
    pub(crate) fn new(windows: W, operators: &Arc<[Sibling]>, ports: &WindowPorts<K, A>) -> Self {
        Self { windows, operators: Arc::clone(operators), ports: ports.clone() }
    }
}

impl<K: 'static, A: 'static, W: Windows> KeptWindows for WindowTimes<K, A, W> {
    fn naming(&self) -> Naming {
        self.windows.naming()
    }

    fn window(&self, store_key: &[u8]) -> Window {
        self.windows.naming().read(&self.windows, store_key).0
    }

    fn length_ms(&self) -> Option<i64> {
        let first = self.windows.starting_at(0);
        self.windows.is_uniform().then(|| first.end.saturating_sub(first.start))
    }

    fn forget_at(&self, clocks: &[StreamClock]) -> Timestamp {
        forget_at(&self.operators, self.ports.closed.is_connected(), clocks)
    }

    fn forgotten_at(&self, window: Window) -> Timestamp {
        forgotten_at(&self.windows, window)
    }
}
