//! Windows as arithmetic: which windows a timestamp falls into, and when one is closed.
//!
//! All kinds are values of one concept, [`Windows`]: given a record's time, and the windows of its
//! key that are near, a kind says what happens to which window. The aggregation carries it out and
//! knows no kind.

mod codec;
mod fixed;
mod hopping;
mod join;
mod plan;
mod session;
mod sliding;
mod tumbling;

use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::record::Timestamp;
pub(crate) use codec::{ChangelogKey, window_key};
pub use codec::{SessionWindowed, TimeWindowed};

pub use hopping::Hopping;
pub use join::JoinWindows;
pub use plan::{Base, Near, Plan, WindowStep};
pub use session::Session;
pub use sliding::Sliding;
pub use tumbling::Tumbling;

/// A key in a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window's first millisecond.
    pub start: Timestamp,
    /// The window's end in milliseconds: exclusive for tumbling and hopping windows, inclusive for
    /// sliding windows and sessions.
    pub end: Timestamp,
}

/// A stretch of time. Whether the end belongs to it depends on its kind; see [`Windowed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first millisecond.
    pub start: Timestamp,
    /// The end in milliseconds.
    pub end: Timestamp,
}

/// How a kind of window is named in a store; both put first what windows are closed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The start says everything, and a window is found without looking at its neighbours.
    Start,
    /// The start says everything; the neighbours of the same key are looked at.
    StartNear,
    /// End and start; the neighbours of the same key are looked at: where windows are sent when
    /// they close, those that are not closed yet.
    EndAndStart,
}

/// A kind of window. Windows of a kind may be of different lengths, such as the days of a place
/// where clocks are changed twice a year: each is closed, held back and forgotten by its own end,
/// which follows from its name. Tables and topics keep the name only, so the same name must mean
/// the same window for ever.
///
/// ```
/// use headwater::{Builder, Record, Table, Topic};
/// use headwater::topics::Timestamp;
/// use headwater_testkit::TopologyTest;
/// use headwater::windows::{Base, Naming, Near, Plan, Unmerged, Window, Windows};
///
/// /// The days of a place: each from one of these moments to the next.
/// #[derive(Clone)]
/// struct Days(Vec<Timestamp>);
///
/// impl Windows for Days {
///     fn naming(&self) -> Naming {
///         Naming::Start
///     }
///
///     fn starting_at(&self, start: Timestamp) -> Window {
///         let next = self.0.iter().find(|midnight| **midnight > start);
///         Window { start, end: next.copied().unwrap_or(Timestamp::MAX) }
///     }
///
///     fn place(&self, timestamp: Timestamp, time: Timestamp, _: &[Near], plan: &mut Plan) {
///         let start = self.0.iter().rfind(|midnight| **midnight <= timestamp);
///         let day = self.starting_at(start.copied().unwrap_or(0));
///         if day.end.saturating_add(self.final_after_end_ms()) > time {
///             plan.add(day, Base::Stored);
///         }
///     }
///
///     fn final_after_end_ms(&self) -> i64 {
///         10 * 60 * 1000
///     }
/// }
///
/// impl Unmerged for Days {}
///
/// const HOUR: i64 = 60 * 60 * 1000;
/// let sales = Topic::<String, i64>::new("sales");
/// let out = Topic::<String, u64>::new("out");
/// let app = Builder::new("example");
/// let days = Days(vec![0, 24 * HOUR, 47 * HOUR, 71 * HOUR]);
/// let per_day = app.stream(&sales).group_by_key().window(days).count(&Table::new("sales"));
/// let hours = |ms| ms / HOUR;
/// per_day.closed().select_key(move |day, _| format!("{} h", hours(day.end - day.start))).to(&out);
///
/// let mut test = TopologyTest::new(app.build()?);
/// for hour in [1, 25, 48] {
///     test.send_record(&sales, Record::new("tea".into(), 1, hour * HOUR))?;
/// }
/// assert_eq!(test.take(&out)?, [("24 h".to_owned(), 1), ("23 h".to_owned(), 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Windows: Send + Sync + 'static {
    /// How its windows are named.
    fn naming(&self) -> Naming;

    /// The window with this start, where [`Naming`] says that the start is enough.
    fn starting_at(&self, start: Timestamp) -> Window;

    /// The neighbours of a record at `timestamp` have names that begin here or later. Default: at
    /// `timestamp`. Never asked of [`Naming::Start`].
    fn near_from(&self, timestamp: Timestamp) -> Timestamp {
        timestamp
    }

    /// Whether this window, from there on, is a neighbour; the first that is not ends the search.
    /// Default: none is. Never asked of [`Naming::Start`].
    fn is_near(&self, _window: Window, _timestamp: Timestamp) -> bool {
        false
    }

    /// What a record at `timestamp` (not negative) does when its operator's stream time is `time`,
    /// which it has moved already. `near` are the neighbours in order. A plan left empty means
    /// that the record is late.
    fn place(&self, timestamp: Timestamp, time: Timestamp, near: &[Near], plan: &mut Plan);

    /// The stream time at which `window` is closed: a record that comes then is late for it, and
    /// [`closed`](crate::WindowAggregated::closed) sends it. By default
    /// [`final_after_end_ms`](Self::final_after_end_ms) past its end, and one millisecond more
    /// where the end belongs to the window, which is taken to be so unless the kind is of
    /// [`Naming::Start`].
    fn closes_at(&self, window: Window) -> Timestamp {
        let end_belongs = i64::from(self.naming() != Naming::Start);
        window.end.saturating_add(self.final_after_end_ms()).saturating_add(end_belongs)
    }

    /// Whether all windows are closed equally long after what their names begin with, which is
    /// then [`close_after_ms`](Self::close_after_ms), and [`closes_at`](Self::closes_at) is not
    /// asked. Fewer windows are looked at then. Default: no.
    fn is_uniform(&self) -> bool {
        false
    }

    /// Where the kind [is uniform](Self::is_uniform): how long after what its name begins with a
    /// window is closed, in stream time. Not asked otherwise.
    fn close_after_ms(&self) -> i64 {
        0
    }

    /// A window is forgotten when it is closed and stream time has reached what its name begins
    /// with plus this. Default: 0, as soon as it is closed.
    fn keep_for_ms(&self) -> i64 {
        0
    }

    /// How long after a window's end final results may still change; what `suppress` waits for.
    fn final_after_end_ms(&self) -> i64;

    /// After how much time without input stream time goes on by the clock; `None`, the default: it
    /// waits for records.
    fn idle_after_ms(&self) -> Option<i64> {
        None
    }

    /// What is wrong with its lengths, if anything; found by `build()`. Default: nothing.
    fn fault(&self) -> Option<String> {
        None
    }

    /// What must stay the same for a table of such windows to be read again, in words that are kept
    /// in the log and compared at each start; so they must not change. What comes in front of the
    /// first comma says what stored windows mean, and cannot change for a table that is there;
    /// what follows says how records find their windows. Default: how the windows are named, so
    /// that other lengths are not noticed.
    fn describe(&self) -> String {
        match self.naming() {
            Naming::Start | Naming::StartNear => "named by their start".to_owned(),
            Naming::EndAndStart => "named by their end and start".to_owned(),
        }
    }

    /// How the keys of a table of such windows are written in its changelog.
    fn changelog_key<K: 'static>(&self, key: &Arc<dyn Codec<K>>) -> Arc<dyn Codec<Windowed<K>>>
    where
        Self: Sized + Clone,
    {
        let has_sequence = self.naming() != Naming::EndAndStart;
        Arc::new(ChangelogKey { window_key: window_key(key, self), has_sequence })
    }
}

/// Kinds whose windows are never merged, so that an aggregate only grows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` windows are merged when a record joins them",
    note = "use `aggregate_merging`, which is told how; `count` and `reduce` know; changes are \
            seen by `into_table()`"
)]
pub trait Unmerged: Windows {}

/// What all kinds share: lateness, retention, idleness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Terms {
    grace_ms: i64,
    retention_ms: i64,
    idle_after_ms: Option<i64>,
}

/// The methods that set a kind's terms, the same for all kinds.
macro_rules! terms {
    ($kind:ident) => {
        impl $kind {
            /// Accepts records for a window until stream time is `grace` past its end; later ones
            /// are dropped and counted.
            #[must_use]
            pub fn grace(mut self, grace: std::time::Duration) -> Self {
                self.terms.grace_ms = $crate::window::millis(grace);
                self
            }

            /// Keeps windows at least so long, in stream time, although they are closed: tables
            /// can still be asked for them. Default: until they are closed.
            #[must_use]
            pub fn retention(mut self, retention: std::time::Duration) -> Self {
                self.terms.retention_ms = $crate::window::millis(retention);
                self
            }

            /// Closes windows without further input: when no record for them has come for `idle`,
            /// and none waits that could be one, stream time goes on by the clock from the last
            /// record's arrival. Without it a window waits for a later record, as it does in Kafka
            /// Streams. The advance is committed with the offsets, so that a restart decides the
            /// same. The date does not matter, only the time that passes.
            #[must_use]
            pub fn idle_after(mut self, idle: std::time::Duration) -> Self {
                self.terms.idle_after_ms = Some($crate::window::millis(idle));
                self
            }
        }
    };
}
use terms;

/// A duration in whole milliseconds, at most what a timestamp can hold with room for sums.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 16)
}
