//! Sliding windows: a new window wherever the set of records within a distance changes.

use std::time::Duration;

use super::{Base, Naming, Near, Plan, Terms, Unmerged, Window, Windows, millis, terms};
use crate::record::Timestamp;

/// Windows over all records of a key that are at most `difference` apart. For each record at `t`
/// there are the windows `[t − difference, t]` and `[t + 1, t + 1 + difference]`, both ends
/// included, if they are not empty; a record with `t < difference` goes into `[0, difference]`.
///
/// ```
/// use headwater::{Builder, Record, Table, Topic};
/// use headwater::windows::Sliding;
/// use headwater_testkit::TopologyTest;
/// use std::time::Duration;
/// let logins = Topic::<String, i64>::new("logins");
/// let many = Topic::<String, u64>::new("many");
/// let sliding = Sliding::of(Duration::from_secs(10));
/// let app = Builder::new("example");
/// let counts = app.stream(&logins).group_by_key().window(sliding).count(&Table::new("seen"));
/// counts.updates().filter(|_, n| *n >= 3).select_key(|window, _| window.key.clone()).to(&many);
///
/// let mut test = TopologyTest::new(app.build()?);
/// for seconds in [15, 19, 24, 60] {
///     test.send_record(&logins, Record::new("ann".into(), 1, seconds * 1000))?;
/// }
/// assert_eq!(test.take(&many)?, [("ann".to_owned(), 3)]); // 15, 19 and 24 s
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    difference_ms: i64,
    terms: Terms,
}

impl Sliding {
    /// Creates windows over records at most `difference` apart, without grace. `build()` refuses a
    /// difference of zero.
    pub fn of(difference: Duration) -> Self {
        Self { difference_ms: millis(difference), terms: Terms::default() }
    }
}

terms!(Sliding);

impl Windows for Sliding {
    fn naming(&self) -> Naming {
        Naming::StartNear
    }

    fn starting_at(&self, start: Timestamp) -> Window {
        Window { start, end: start.saturating_add(self.difference_ms) }
    }

    fn near_from(&self, timestamp: Timestamp) -> Timestamp {
        timestamp.saturating_sub(2 * self.difference_ms).max(0)
    }

    fn is_near(&self, window: Window, timestamp: Timestamp) -> bool {
        // One more, for the record's own right window.
        window.start <= timestamp.saturating_add(1)
    }

    fn place(&self, timestamp: Timestamp, time: Timestamp, near: &[Near], plan: &mut Plan) {
        if timestamp.saturating_add(self.difference_ms + self.terms.grace_ms) < time {
            return;
        }
        let record = SlidingPlacement { windows: self, timestamp, near };
        if timestamp < self.difference_ms {
            record.early(plan)
        } else {
            record.usual(plan)
        }
        // Each window decides for itself whether the record is late.
        plan.steps.retain(|step| step.window.end.saturating_add(self.terms.grace_ms) >= time);
        // The record's left window can be the right window of the record before it.
        plan.steps.sort_by_key(|step| step.window);
        plan.steps.dedup_by_key(|step| step.window);
    }

    fn is_uniform(&self) -> bool {
        true
    }

    fn close_after_ms(&self) -> i64 {
        self.difference_ms + self.terms.grace_ms + 1
    }

    fn keep_for_ms(&self) -> i64 {
        // A record that is just in time looks at windows that begin two differences before it.
        (3 * self.difference_ms + self.terms.grace_ms + 1).max(self.terms.retention_ms)
    }

    fn final_after_end_ms(&self) -> i64 {
        self.terms.grace_ms
    }

    fn idle_after_ms(&self) -> Option<i64> {
        self.terms.idle_after_ms
    }

    fn fault(&self) -> Option<String> {
        (self.difference_ms < 1).then(|| "have a difference below 1 ms".to_owned())
    }

    fn describe(&self) -> String {
        format!("sliding of {} ms", self.difference_ms)
    }
}

impl Unmerged for Sliding {}

/// A record and the windows of its key nearby.
struct SlidingPlacement<'a> {
    windows: &'a Sliding,
    timestamp: Timestamp,
    near: &'a [Near],
}

impl SlidingPlacement<'_> {
    fn has(&self, start: Timestamp) -> bool {
        self.near.iter().any(|near| near.window.start == start)
    }

    /// A record whose left window begins at 0 or later.
    fn usual(&self, plan: &mut Plan) {
        let at = self.timestamp;
        let mut before = None;
        let mut right = None;
        let mut previous = None;
        let mut has_left = false;
        for (index, near) in self.near.iter().enumerate() {
            if near.window.end < at {
                before = Some(index);
                previous = Some(near.latest);
            } else if near.window.end == at {
                has_left = true;
                previous = if near.latest < at { Some(near.latest) } else { previous };
                plan.add(near.window, Base::Near(index));
            } else if near.window.start <= at {
                right = Some(index);
                plan.add(near.window, Base::Near(index));
            }
        }
        self.right_of_previous(previous, plan);
        if !has_left {
            let start = at.saturating_sub(self.windows.difference_ms);
            // The last window that ends before the record has exactly the earlier records of its
            // left window, if there are any.
            let base = match before.filter(|_| previous.is_some_and(|latest| latest >= start)) {
                Some(index) => Base::Near(index),
                None => Base::Fresh,
            };
            plan.add(self.windows.starting_at(start), base);
        }
        self.right(right, plan);
    }

    /// A record earlier than the difference: its left window is the one from 0.
    fn early(&self, plan: &mut Plan) {
        let at = self.timestamp;
        let mut first = None;
        let mut right = None;
        let mut previous = None;
        for (index, near) in self.near.iter().enumerate() {
            if near.window.start == 0 {
                first = Some(index);
                previous = Some(near.latest).filter(|latest| *latest < at);
            } else if near.window.start <= at {
                right = Some(index);
                plan.add(near.window, Base::Near(index));
            }
        }
        // If there is no other one, the window from 0 has exactly the later records.
        right = right.or(first.filter(|index| self.near[*index].latest > at));
        self.right_of_previous(previous, plan);
        self.right(right, plan);
        plan.add(self.windows.starting_at(0), first.map_or(Base::Fresh, Base::Near));
    }

    /// The record is the first in the right window of the record before it.
    fn right_of_previous(&self, previous: Option<Timestamp>, plan: &mut Plan) {
        let Some(start) = previous.map(|previous| previous.saturating_add(1)) else { return };
        let window = self.windows.starting_at(start);
        if !self.has(start) && window.end >= self.timestamp {
            plan.add(window, Base::Fresh);
        }
    }

    /// The record's own right window, if there are later records.
    fn right(&self, holds_later: Option<usize>, plan: &mut Plan) {
        let start = self.timestamp.saturating_add(1);
        let later = holds_later.filter(|index| self.near[*index].latest > self.timestamp);
        if let Some(index) = later.filter(|_| !self.has(start)) {
            plan.copy(self.windows.starting_at(start), index);
        }
    }
}
