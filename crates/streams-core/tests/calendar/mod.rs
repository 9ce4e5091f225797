//! Windows of different lengths, as a user writes them.

use std::ops::Range;
use std::sync::Arc;

use headwater_streams_core::Timestamp;
use headwater_streams_core::window::{
    Base, Naming, Near, Plan, Unmerged, Window, Windowed, Windows,
};

pub const HOUR: i64 = 3_600_000;

/// Windows side by side, each from one of `bounds` to the next: the days of a place, for instance,
/// where clocks are changed twice a year.
#[derive(Clone, Debug)]
pub struct CalendarDays {
    bounds: Arc<[Timestamp]>,
    grace_ms: i64,
    retention_ms: i64,
    idle_after_ms: Option<i64>,
}

impl CalendarDays {
    pub fn of(bounds: impl Into<Arc<[Timestamp]>>) -> Self {
        Self { bounds: bounds.into(), grace_ms: 0, retention_ms: 0, idle_after_ms: None }
    }

    /// The days of a country from Friday to Wednesday around the last Sunday of March, which has
    /// 23 hours, then those around the last Sunday of October, which has 25. The first begins at 0.
    pub fn with_daylight_saving() -> Self {
        let hours = [24, 24, 23, 24, 24, 24, 24, 25, 24, 24];
        let end = |from: &mut i64, hours: &i64| {
            *from += hours * HOUR;
            Some(*from)
        };
        let ends = hours.iter().scan(0, end);
        Self::of(std::iter::once(0).chain(ends).collect::<Vec<_>>())
    }

    pub fn grace(mut self, ms: i64) -> Self {
        self.grace_ms = ms;
        self
    }

    pub fn retention(mut self, ms: i64) -> Self {
        self.retention_ms = ms;
        self
    }

    pub fn idle_after(mut self, ms: i64) -> Self {
        self.idle_after_ms = Some(ms);
        self
    }

    pub fn window(&self, timestamp: Timestamp) -> Window {
        let index = self.bounds.partition_point(|bound| *bound <= timestamp);
        let Range { start, end } = self.bounds[index - 1]..self.bounds[index];
        Window { start, end }
    }

    pub fn bounds(&self) -> &[Timestamp] {
        &self.bounds
    }

    fn usual_ms(&self) -> i64 {
        self.bounds[1] - self.bounds[0]
    }
}

impl Windows for CalendarDays {
    fn naming(&self) -> Naming {
        Naming::Start
    }

    fn starting_at(&self, start: Timestamp) -> Window {
        self.window(start)
    }

    fn near_from(&self, timestamp: Timestamp) -> Timestamp {
        timestamp
    }

    fn is_near(&self, _: Window, _: Timestamp) -> bool {
        false
    }

    fn place(&self, timestamp: Timestamp, time: Timestamp, _: &[Near], plan: &mut Plan) {
        let window = self.window(timestamp);
        if window.end + self.grace_ms > time {
            plan.add(window, Base::Stored);
        }
    }

    fn close_after_ms(&self) -> i64 {
        self.usual_ms() + self.grace_ms
    }

    fn keep_for_ms(&self) -> i64 {
        self.close_after_ms().max(self.retention_ms)
    }

    fn final_after_end_ms(&self) -> i64 {
        self.grace_ms
    }

    fn idle_after_ms(&self) -> Option<i64> {
        self.idle_after_ms
    }

    fn fault(&self) -> Option<String> {
        (self.bounds.len() < 2).then(|| "have no bounds".to_owned())
    }
}

impl Unmerged for CalendarDays {}

/// How a window is named in the tests' outputs: by its key and both of its ends, in hours.
pub fn name(window: &Windowed<String>) -> String {
    let hours = |ms: i64| ms / HOUR;
    format!("{} {}..{}", window.key, hours(window.start), hours(window.end))
}
