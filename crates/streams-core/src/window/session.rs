//! Sessions: windows that grow while records keep coming.

use std::time::Duration;

use super::{Base, Naming, Near, Plan, Terms, Window, Windows, millis, terms};
use crate::record::Timestamp;

/// The sessions of a key: records that are at most `gap` apart belong together. A session's end is
/// the time of its last record. A record that falls between two sessions merges them. The old ones
/// are deleted, with tombstones in the table's changes.
///
/// A record is late when the session that it would be in ends more than `gap` plus grace before
/// stream time. So a late record can still join an open session. A session that was sent when it
/// closed accepts no more records, however long its `retention` is. In a table of sessions with a
/// longer `retention`, a late record that is in time itself joins the session near it, as in Kafka
/// Streams.
///
/// ```
/// use headwater::{Builder, Record, Table, Topic};
/// use headwater::windows::Session;
/// use headwater_testkit::TopologyTest;
/// use std::time::Duration;
/// let clicks = Topic::<String, i64>::new("clicks");
/// let visits = Topic::<String, u64>::new("visits");
/// let sessions = Session::of(Duration::from_secs(30));
/// let app = Builder::new("example");
/// let visited = app.stream(&clicks).group_by_key().window(sessions).count(&Table::new("seen"));
/// let closed = visited.closed();
/// closed.select_key(|window, _| format!("{}..{}", window.start, window.end)).to(&visits);
///
/// let mut test = TopologyTest::new(app.build()?);
/// for seconds in [5, 25, 50, 200] {
///     test.send_record(&clicks, Record::new("ann".into(), 1, seconds * 1000))?;
/// }
/// assert_eq!(test.take(&visits)?, [("5000..50000".to_owned(), 3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    gap_ms: i64,
    terms: Terms,
}

impl Session {
    /// Creates sessions with gaps of at most `gap` (inclusive), without grace.
    pub fn of(gap: Duration) -> Self {
        Self { gap_ms: millis(gap), terms: Terms::default() }
    }
}

terms!(Session);

impl Windows for Session {
    fn naming(&self) -> Naming {
        Naming::EndAndStart
    }

    fn starting_at(&self, start: Timestamp) -> Window {
        Window { start, end: start }
    }

    fn near_from(&self, timestamp: Timestamp) -> Timestamp {
        timestamp.saturating_sub(self.gap_ms).max(0)
    }

    fn is_near(&self, window: Window, timestamp: Timestamp) -> bool {
        window.start <= timestamp.saturating_add(self.gap_ms)
    }

    fn place(&self, timestamp: Timestamp, time: Timestamp, near: &[Near], plan: &mut Plan) {
        let instant = Window { start: timestamp, end: timestamp };
        let merged = near.iter().fold(instant, |all, near| Window {
            start: all.start.min(near.window.start),
            end: all.end.max(near.window.end),
        });
        if merged.end.saturating_add(self.gap_ms + self.terms.grace_ms) < time {
            return;
        }
        if merged != instant {
            plan.remove_near();
        }
        plan.add(merged, Base::Merged);
    }

    fn is_uniform(&self) -> bool {
        true
    }

    fn close_after_ms(&self) -> i64 {
        self.gap_ms + self.terms.grace_ms + 1
    }

    fn keep_for_ms(&self) -> i64 {
        self.close_after_ms().max(self.terms.retention_ms + 1)
    }

    fn final_after_end_ms(&self) -> i64 {
        self.gap_ms + self.terms.grace_ms
    }

    fn idle_after_ms(&self) -> Option<i64> {
        self.terms.idle_after_ms
    }

    fn fault(&self) -> Option<String> {
        None
    }

    fn describe(&self) -> String {
        format!("sessions, with gaps of {} ms", self.gap_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sessions of all timestamps, computed naively: sorted, and split where the gap is too
    /// long.
    fn model(mut timestamps: Vec<i64>, gap: i64) -> Vec<(i64, i64)> {
        timestamps.sort_unstable();
        let mut sessions: Vec<(i64, i64)> = Vec::new();
        for at in timestamps {
            match sessions.last_mut() {
                Some((_, end)) if at - *end <= gap => *end = at,
                _ => sessions.push((at, at)),
            }
        }
        sessions
    }

    proptest! {
        #[test]
        fn merging_record_by_record_gives_the_same_sessions_as_sorting(
            timestamps in prop::collection::vec(0..2_000_i64, 0..60), gap in 0..60_i64,
        ) {
            let sessions = Session::of(Duration::from_millis(gap as u64));
            let mut all: Vec<Window> = Vec::new();
            for &at in &timestamps {
                let from = sessions.near_from(at);
                let is_near =
                    |window: &Window| window.end >= from && sessions.is_near(*window, at);
                let (near, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(is_near);
                let near: Vec<_> = near
                    .into_iter()
                    .map(|window| Near { window, latest: window.end, value: Box::default() })
                    .collect();
                let mut plan = Plan::default();
                sessions.place(at, at, &near, &mut plan);
                prop_assert_eq!(plan.steps.len(), 1);
                rest.push(plan.steps[0].window);
                all = rest;
            }
            let mut found: Vec<_> = all.iter().map(|window| (window.start, window.end)).collect();
            found.sort_unstable();
            prop_assert_eq!(found, model(timestamps, gap));
        }
    }
}
