//! What to do with a record that cannot be processed, and other options of a source.

use std::sync::Arc;
use std::time::Duration;

use crate::record::{Record, Timestamp};
use crate::window::millis;

/// What happens to a record that cannot be decoded, that has no key where one is needed, on which
/// user code fails or panics, or that makes something which the log would refuse: a record that is
/// too large for its topic or has a timestamp that the topic does not take, a table's entry that is
/// too large for its changelog. Whatever the record did before it failed is taken back first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// The application stops with an error that names the record. Nothing is committed beyond it.
    #[default]
    Fail,
    /// The record is passed over, logged and counted.
    Skip,
    /// The record's own bytes and headers go to this topic, in the same transaction as the offset
    /// that passes it, with Kafka Streams' headers that say where it came from and what was wrong,
    /// all of them text:
    ///
    /// * `__streams.errors.topic`, `__streams.errors.partition`, `__streams.errors.offset`;
    /// * `__streams.errors.exception`: the name of the [`Cause`](crate::Cause), such as
    ///   `headwater::Cause::DecodeValue`;
    /// * `__streams.errors.message`: what it says, at most 1 KiB of it;
    /// * `__streams.errors.stacktrace`: that, and what caused it, a line each; at most 4 KiB.
    ///
    /// Those that a record has from an earlier round are replaced. Where the topic does not take
    /// the record with all of them, it gets fewer, or none. A record that the topic does not take
    /// at all, because it is too large by itself or lacks the key of a compacted topic, stops the
    /// application as [`Fail`](Self::Fail) does, with both reasons. A timestamp that the topic does
    /// not take becomes the nearest one that it does, and `headwater.timestamp` is the record's
    /// own.
    DeadLetter(Arc<str>),
}

impl ErrorPolicy {
    /// [`ErrorPolicy::DeadLetter`] to `topic`.
    pub fn dead_letter(topic: impl Into<Arc<str>>) -> Self {
        Self::DeadLetter(topic.into())
    }
}

/// Where a source begins when the group has not committed an offset yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is still there.
    #[default]
    Earliest,
    /// Behind the newest record at that moment.
    Latest,
}

pub(crate) type Extractor<K, V> = Arc<dyn Fn(&Record<K, V>) -> Timestamp + Send + Sync>;

/// How a topic is consumed; see [`Builder::stream_with`](crate::Builder::stream_with).
///
/// ```
/// use headwater::{Consumed, ErrorPolicy, Start};
/// # struct Sale { sold_at_ms: i64 }
/// let consumed = Consumed::<String, Sale>::new()
///     .timestamps(|sale| sale.value.sold_at_ms)
///     .on_error(ErrorPolicy::dead_letter("sales-dead"))
///     .start(Start::Earliest);
/// # let _ = consumed;
/// ```
pub struct Consumed<K, V> {
    pub(crate) policy: Option<ErrorPolicy>,
    pub(crate) start: Start,
    pub(crate) max_ahead_ms: Option<i64>,
    pub(crate) timestamps: Option<Extractor<K, V>>,
}

impl<K, V> Consumed<K, V> {
    /// The record's own timestamp, the builder's error policy, from the earliest record.
    pub fn new() -> Self {
        Self { policy: None, start: Start::Earliest, max_ahead_ms: None, timestamps: None }
    }

    /// What to do with records that cannot be processed. Default: the builder's.
    #[must_use]
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where to begin without a committed offset. Default: the earliest record.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Event time in milliseconds, from the decoded record (whose own timestamp it can see).
    /// Default: the record's.
    #[must_use]
    pub fn timestamps(
        mut self,
        extract: impl Fn(&Record<K, V>) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamps = Some(Arc::new(extract));
        self
    }

    /// Refuses records whose timestamp is further than `ahead` in front of the wall clock: one such
    /// record would close every open window. Default: no limit but the year 9999, which catches
    /// micro- and nanoseconds.
    #[must_use]
    pub fn max_ahead(mut self, ahead: Duration) -> Self {
        self.max_ahead_ms = Some(millis(ahead));
        self
    }
}

impl<K, V> Default for Consumed<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
