//! A topic as a source of records, and how it is consumed.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::Nullable;
use crate::policy::ErrorPolicy;
use crate::record::{Record, Timestamp};
use crate::topic::Topic;
use crate::window::millis;

/// Where a source starts if the group has no committed offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that the topic still has.
    #[default]
    Earliest,
    /// After the newest record at that moment.
    Latest,
}

pub(crate) type Extractor<K, V> = Arc<dyn Fn(&Record<K, V>) -> Timestamp + Send + Sync>;

/// A topic and how it is consumed. [`Topic::consumed`] creates one for a stream or an agent, and
/// [`Topic::consumed_rows`] one for a table.
///
/// ```
/// use headwater::{Builder, Topic};
/// use headwater::errors::ErrorPolicy;
/// use headwater::topics::Start;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Sale { sold_at_ms: i64 }
/// let sales = Topic::<String, Sale>::json("sales");
/// let app = Builder::new("example");
/// let stream = app.stream(
///     sales
///         .consumed()
///         .timestamps(|sale| sale.value.sold_at_ms)
///         .on_error(ErrorPolicy::dead_letter("sales-dead"))
///         .start(Start::Earliest),
/// );
/// # let _ = stream;
/// ```
pub struct Consumed<K, V> {
    pub(crate) topic: Topic<K, V>,
    pub(crate) policy: Option<ErrorPolicy>,
    pub(crate) start: Option<Start>,
    pub(crate) max_ahead_ms: Option<i64>,
    pub(crate) timestamps: Option<Extractor<K, V>>,
}

impl<K, V> Consumed<K, V> {
    pub(crate) fn new(topic: Topic<K, V>) -> Self {
        Self { topic, policy: None, start: None, max_ahead_ms: None, timestamps: None }
    }

    /// Sets what happens to records that cannot be processed. Default: the builder's policy.
    #[must_use]
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets where to start without a committed offset. Default: [`Start::Earliest`].
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// Sets a function that extracts the event time, in milliseconds since 1970, from the decoded
    /// record; the function also gets the record's own timestamp. Default: the record's timestamp.
    #[must_use]
    pub fn timestamps(
        mut self,
        extract: impl Fn(&Record<K, V>) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamps = Some(Arc::new(extract));
        self
    }

    /// Refuses records whose timestamp is more than `ahead` after the wall clock, because one such
    /// record would close every open window. Default: no limit except the year 9999, which catches
    /// micro- and nanoseconds.
    #[must_use]
    pub fn max_ahead(mut self, ahead: Duration) -> Self {
        self.max_ahead_ms = Some(millis(ahead));
        self
    }
}

impl<K: 'static, V: 'static> Topic<K, V> {
    /// Returns this topic as the source of a stream or an agent, to set options.
    pub fn consumed(&self) -> Consumed<K, V> {
        Consumed::new(self.clone())
    }

    /// Returns this topic as the source of a table, to set options. Its values are `Option`s:
    /// `None` deletes a row.
    pub fn consumed_rows(&self) -> Consumed<K, Option<V>> {
        Consumed::new(Topic {
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::new(Nullable(Arc::clone(&self.value))),
        })
    }
}

/// What a stream or an agent can read: a topic, or [`Topic::consumed`] with options.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of a stream",
    label = "not a topic",
    note = "give a reference to a `Topic`, or `topic.consumed()` with options"
)]
pub trait StreamSource {
    /// The type of the keys.
    type Key: 'static;
    /// The type of the values.
    type Value: 'static;

    /// Returns the topic with its options.
    fn into_consumed(self) -> Consumed<Self::Key, Self::Value>;
}

impl<K: 'static, V: 'static> StreamSource for &Topic<K, V> {
    type Key = K;
    type Value = V;

    fn into_consumed(self) -> Consumed<K, V> {
        self.consumed()
    }
}

impl<K: 'static, V: 'static> StreamSource for Consumed<K, V> {
    type Key = K;
    type Value = V;

    fn into_consumed(self) -> Self {
        self
    }
}

/// What a table can be read from: a topic, or [`Topic::consumed_rows`] with options.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of a table",
    label = "not a topic",
    note = "give a reference to a `Topic`, or `topic.consumed_rows()` with options"
)]
pub trait TableSource {
    /// The type of the keys.
    type Key: 'static;
    /// The type of the rows.
    type Value: 'static;

    /// Returns the topic with its options.
    fn into_consumed_rows(self) -> Consumed<Self::Key, Option<Self::Value>>;
}

impl<K: 'static, V: 'static> TableSource for &Topic<K, V> {
    type Key = K;
    type Value = V;

    fn into_consumed_rows(self) -> Consumed<K, Option<V>> {
        self.consumed_rows()
    }
}

impl<K: 'static, V: 'static> TableSource for Consumed<K, Option<V>> {
    type Key = K;
    type Value = V;

    fn into_consumed_rows(self) -> Self {
        self
    }
}
