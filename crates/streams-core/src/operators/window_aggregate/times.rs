//! When windows are closed and forgotten, for their writers and their readers.

use super::WindowPorts;
use crate::reader::KeptWindows;
use crate::record::Timestamp;
use crate::stream_clock::{ClockIndex, StreamClock};
use crate::window::{Naming, Window, Windows};

/// The stream time at which a window is closed; never before the time that its name begins with,
/// by which windows are looked for.
#[inline]
pub(super) fn closes_at(windows: &impl Windows, window: Window) -> Timestamp {
    let time = windows.naming().time(window);
    match windows.is_uniform() {
        true => time.saturating_add(windows.close_after_ms()),
        false => windows.closes_at(window).max(time),
    }
}

/// The stream time at which a window is forgotten.
#[inline]
pub(super) fn forgotten_at(windows: &impl Windows, window: Window) -> Timestamp {
    let time = windows.naming().time(window);
    let kept_to = time.saturating_add(windows.keep_for_ms());
    kept_to.max(closes_at(windows, window))
}

/// The least stream time of the operators on a table, of those that have had a record: a window is
/// complete when none of them takes another record for it.
#[inline]
pub(super) fn passed(operators: &[ClockIndex], clocks: &[StreamClock]) -> Timestamp {
    let times = operators.iter().map(|clock| clocks[*clock].time);
    times.filter(|time| *time != StreamClock::UNKNOWN).min().unwrap_or(StreamClock::UNKNOWN)
}

/// The stream time by which windows are forgotten: as far as any operator on the table knows it,
/// but nothing is forgotten before it was closed.
#[inline]
pub(super) fn forget_at(
    operators: &[ClockIndex],
    sends_closed: bool,
    clocks: &[StreamClock],
) -> Timestamp {
    if sends_closed {
        return passed(operators, clocks);
    }
    operators.iter().map(|clock| clocks[*clock].time).max().unwrap_or(StreamClock::UNKNOWN)
}

/// The windows of a table, for those that read them.
pub(crate) struct WindowTimes<K, A, W> {
    windows: W,
    operators: Box<[ClockIndex]>,
    ports: WindowPorts<K, A>,
}

impl<K: 'static, A: 'static, W: Windows> WindowTimes<K, A, W> {
    /// `operators` are the stream times of all that write the table.
    pub(crate) fn new(windows: W, operators: &[ClockIndex], ports: &WindowPorts<K, A>) -> Self {
        Self { windows, operators: operators.into(), ports: ports.clone() }
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
