//! What tumbling and hopping windows share: one size, starts on a grid.

use super::{Base, Plan, Terms, Window};
use crate::record::Timestamp;

/// Windows `[start, start + size)` whose starts are the multiples of `advance` from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) size_ms: i64,
    pub(super) advance_ms: i64,
}

impl Grid {
    pub(super) fn window(self, start: Timestamp) -> Window {
        Window { start, end: start + self.size_ms }
    }

    /// The starts of the windows that `timestamp` (not negative) falls into, ascending.
    pub(super) fn starts(self, timestamp: Timestamp) -> impl Iterator<Item = Timestamp> {
        let size = self.size_ms.max(1);
        let advance = self.advance_ms.max(1);
        let earliest = (timestamp - size + 1).max(0);
        let first = (earliest + advance - 1) / advance * advance;
        (first..=timestamp).step_by(usize::try_from(advance).unwrap_or(usize::MAX))
    }

    pub(super) fn place(self, at: Timestamp, time: Timestamp, terms: Terms, plan: &mut Plan) {
        for start in self.starts(at) {
            let window = self.window(start);
            if window.end + terms.grace_ms > time {
                plan.add(window, Base::Stored);
            }
        }
    }

    pub(super) fn describe(self) -> String {
        let Self { size_ms, advance_ms } = self;
        if advance_ms == size_ms {
            return format!("tumbling of {size_ms} ms");
        }
        format!("hopping of {size_ms} ms, every {advance_ms} ms")
    }

    pub(super) fn fault(self) -> Option<String> {
        let sizes = self.size_ms >= 1 && self.advance_ms >= 1;
        if !sizes {
            return Some("are shorter than 1 ms".to_owned());
        }
        (self.advance_ms > self.size_ms).then(|| "advance by more than their size".to_owned())
    }
}

/// [`Windows`](super::Windows) for a kind with a `grid` and `terms`.
macro_rules! on_a_grid {
    ($kind:ident) => {
        impl $crate::window::Windows for $kind {
            fn naming(&self) -> $crate::window::Naming {
                $crate::window::Naming::Start
            }

            fn starting_at(&self, start: Timestamp) -> $crate::window::Window {
                self.grid.window(start)
            }

            fn near_from(&self, timestamp: Timestamp) -> Timestamp {
                timestamp
            }

            fn is_near(&self, _: $crate::window::Window, _: Timestamp) -> bool {
                false
            }

            fn place(
                &self,
                timestamp: Timestamp,
                time: Timestamp,
                _: &[$crate::window::Near],
                plan: &mut $crate::window::Plan,
            ) {
                self.grid.place(timestamp, time, self.terms, plan);
            }

            fn is_uniform(&self) -> bool {
                true
            }

            fn close_after_ms(&self) -> i64 {
                self.grid.size_ms + self.terms.grace_ms
            }

            fn keep_for_ms(&self) -> i64 {
                self.close_after_ms().max(self.terms.retention_ms)
            }

            fn final_after_end_ms(&self) -> i64 {
                self.terms.grace_ms
            }

            fn idle_after_ms(&self) -> Option<i64> {
                self.terms.idle_after_ms
            }

            fn fault(&self) -> Option<String> {
                self.grid.fault()
            }

            fn describe(&self) -> String {
                self.grid.describe()
            }
        }

        impl $crate::window::Unmerged for $kind {}
    };
}
pub(super) use on_a_grid;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_timestamp_falls_into_exactly_the_windows_that_contain_it(
            timestamp in 0..100_000_i64, size in 1..500_i64, advance in 1..500_i64,
        ) {
            let grid = Grid { size_ms: size.max(advance), advance_ms: advance };
            let starts: Vec<_> = grid.starts(timestamp).collect();
            let contains = |start: &i64| *start <= timestamp && timestamp < start + grid.size_ms;
            let multiples = (0..=timestamp / advance).map(|n| n * advance);
            prop_assert_eq!(starts, multiples.filter(contains).collect::<Vec<_>>());
        }

        #[test]
        fn a_record_is_late_for_exactly_the_closed_windows(
            timestamp in 0..5_000_i64, ahead in 0..2_000_i64, advance in 1..200_i64,
            grace in 0..300_i64,
        ) {
            let grid = Grid { size_ms: 200, advance_ms: advance };
            let mut plan = Plan::default();
            let time = timestamp + ahead;
            grid.place(timestamp, time, Terms { grace_ms: grace, ..Terms::default() }, &mut plan);
            let open = grid.starts(timestamp).filter(|start| start + 200 + grace > time);
            let planned: Vec<_> = plan.steps.iter().map(|step| step.window.start).collect();
            prop_assert_eq!(planned, open.collect::<Vec<_>>());
        }
    }
}
