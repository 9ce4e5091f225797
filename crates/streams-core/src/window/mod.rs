//! Windows as arithmetic: which windows a timestamp falls into, and when one is closed.
//!
//! All kinds implement one trait, [`Windows`]. Given a record's time and the nearby windows of its
//! key, a kind says what happens to which window. The aggregation carries it out and knows no kind.

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

/// A span of time. Whether the end is included depends on its kind; see [`Windowed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first millisecond.
    pub start: Timestamp,
    /// The end in milliseconds.
    pub end: Timestamp,
}

/// How a store names the windows of a kind. Each name begins with the time that decides when a
/// window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The start is the name, and a window is found without looking at its neighbours.
    Start,
    /// The start is the name, and the neighbours with the same key are looked at.
    StartNear,
    /// The end and the start are the name, and the neighbours with the same key are looked at. If
    /// windows are sent when they close, only those that are still open count.
    EndAndStart,
}

/// A kind of window. Its windows may have different lengths, such as the days of a zone with
/// daylight saving time. Each is closed, suppressed and deleted by its own end, which follows from
/// its name. Tables and topics store only the name, so the same name must always mean the same
/// window.
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

    /// Returns the window with this start, if [`Naming`] says that the start is enough.
    fn starting_at(&self, start: Timestamp) -> Window;

    /// Returns the name from which the neighbours of a record at `timestamp` begin. Default:
    /// `timestamp`. Not called for [`Naming::Start`].
    fn near_from(&self, timestamp: Timestamp) -> Timestamp {
        timestamp
    }

    /// Whether this window, searching from there on, is a neighbour. The first that is not ends the
    /// search. Default: none is. Not called for [`Naming::Start`].
    fn is_near(&self, _window: Window, _timestamp: Timestamp) -> bool {
        false
    }

    /// Plans what a record at `timestamp` (not negative) does. `time` is its operator's stream
    /// time, which the record has already advanced. `near` has the neighbours in order. An empty
    /// plan means that the record is late.
    fn place(&self, timestamp: Timestamp, time: Timestamp, near: &[Near], plan: &mut Plan);

    /// Returns the stream time at which `window` closes: a record that arrives then is late for it,
    /// and [`closed`](crate::WindowAggregated::closed) sends it. The default is
    /// [`final_after_end_ms`](Self::final_after_end_ms) past its end, plus one millisecond if the
    /// end is included, which is assumed for all kinds except those with [`Naming::Start`].
    fn closes_at(&self, window: Window) -> Timestamp {
        let end_belongs = i64::from(self.naming() != Naming::Start);
        window.end.saturating_add(self.final_after_end_ms()).saturating_add(end_belongs)
    }

    /// Whether all windows close equally long after the time that their names begin with. That
    /// length is [`close_after_ms`](Self::close_after_ms), and [`closes_at`](Self::closes_at) is
    /// not called. Fewer windows are examined in that case. Default: no.
    fn is_uniform(&self) -> bool {
        false
    }

    /// For a [uniform](Self::is_uniform) kind: how long after the time that its name begins with a
    /// window closes, in stream time. Not called otherwise.
    fn close_after_ms(&self) -> i64 {
        0
    }

    /// How long a window is retained, counted from the time that its name begins with. It is
    /// deleted when it is closed and stream time has reached that. Default: 0, so it is deleted as
    /// soon as it is closed.
    fn keep_for_ms(&self) -> i64 {
        0
    }

    /// How long after a window's end its result may still change; `suppress` waits for that.
    fn final_after_end_ms(&self) -> i64;

    /// How long to wait without input before stream time advances by the clock. Default: `None`,
    /// which waits for records.
    fn idle_after_ms(&self) -> Option<i64> {
        None
    }

    /// What is wrong with its lengths, if anything, for `build()` to report. Default: nothing.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Describes what must stay the same for a table of such windows to remain readable. The text
    /// is stored in the log and compared at each start, so it must not change. The part before the
    /// first comma says what stored windows mean, and cannot change for an existing table. The rest
    /// says how records find their windows. The default is how the windows are named, so a change
    /// of lengths is not noticed.
    fn describe(&self) -> String {
        match self.naming() {
            Naming::Start | Naming::StartNear => "named by their start".to_owned(),
            Naming::EndAndStart => "named by their end and start".to_owned(),
        }
    }

    /// How the changelog of a table with such windows writes its keys.
    fn changelog_key<K: 'static>(&self, key: &Arc<dyn Codec<K>>) -> Arc<dyn Codec<Windowed<K>>>
    where
        Self: Sized + Clone,
    {
        let has_sequence = self.naming() != Naming::EndAndStart;
        Arc::new(ChangelogKey { window_key: window_key(key, self), has_sequence })
    }
}

/// Kinds whose windows never merge, so an aggregate only grows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` windows are merged when a record joins them",
    note = "use `count`, `reduce`, or `aggregate_merging` with a merge function; to see changes, \
            use `into_table()`"
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
            /// Accepts records for a window until stream time is `grace` past its end. Later
            /// records are dropped and counted.
            #[must_use]
            pub fn grace(mut self, grace: std::time::Duration) -> Self {
                self.terms.grace_ms = $crate::window::millis(grace);
                self
            }

            /// Retains closed windows for at least this long in stream time, so that readers can
            /// still query them. Default: until they are closed.
            #[must_use]
            pub fn retention(mut self, retention: std::time::Duration) -> Self {
                self.terms.retention_ms = $crate::window::millis(retention);
                self
            }

            /// Closes windows without further input. When `idle` has passed without a record and
            /// none is waiting, stream time advances by the clock from the last record's arrival.
            /// Without this setting a window waits for a later record, as in Kafka Streams. The
            /// advance is committed with the offsets, so that a restart decides the same. Only
            /// elapsed time counts, not the date.
            #[must_use]
            pub fn idle_after(mut self, idle: std::time::Duration) -> Self {
                self.terms.idle_after_ms = Some($crate::window::millis(idle));
                self
            }
        }
    };
}
use terms;

/// Converts a duration to whole milliseconds, limited so that sums of timestamps do not overflow.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 16)
}
