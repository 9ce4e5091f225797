//! Tables as the user names them: named, typed state with one writer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Codec, Json, JsonValue, Natural, NaturalKey};
use crate::window::millis;

/// The typed name of a table. Not a handle: operators write it, agents reach it through their
/// [`Context`](crate::agent::Context). Cheap to clone.
///
/// A table is kept per partition in the task's store and logged to `{application
/// id}-{name}-changelog`. Its data is found by its name: an application whose table has another
/// name than when it last ran is refused at the start, unless it is told to accept that and to
/// begin with an empty one.
pub struct Table<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Arc<dyn Codec<V>>,
    /// How long its rows are kept, in milliseconds of stream time; for ever, if nothing is said.
    pub(crate) ttl_ms: Option<i64>,
}

impl<K: 'static, V: 'static> Table<K, V> {
    /// A table whose keys and values are kept in their [natural](Natural) bytes: counts, sums,
    /// strings.
    pub fn new(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: Natural,
    {
        Self { name: name.into(), key: K::codec(), value: V::codec(), ttl_ms: None }
    }

    /// A table with natural keys and JSON values.
    pub fn json(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: JsonValue,
    {
        Self { name: name.into(), key: K::codec(), value: Arc::new(Json), ttl_ms: None }
    }

    /// A table with codecs of your choice.
    pub fn with(name: impl Into<Arc<str>>, key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: name.into(), key: Arc::new(key), value: Arc::new(value), ttl_ms: None }
    }

    /// Keeps each row for as long as `ttl`, in stream time: a row is gone when the table's stream
    /// time has reached the row's timestamp plus `ttl`. In whole milliseconds, at least one. By
    /// default rows stay until they are deleted.
    ///
    /// The table's stream time is the highest timestamp of the records that reached its writer,
    /// whether they changed a row or not (if that is an agent: of the rows that it wrote; what it
    /// reads for a record is as of that record's time, if that is later). It is committed with the
    /// offsets, and stands still as long as no record comes; the records of a reader do not move
    /// it. A row's timestamp is that of the record that wrote it last; an aggregate's is the
    /// highest of its records.
    ///
    /// * No read shows a row that is gone. The record that moves stream time past it deletes it,
    ///   with a tombstone in the changelog; if there are more than a thousand, the rest follow
    ///   before the next record.
    /// * An aggregate whose row is gone starts from nothing.
    /// * Downstream tables and joins see the row being deleted; the change has the row's timestamp
    ///   plus `ttl`. Streams of aggregates ([`updates`](crate::Aggregated::updates),
    ///   [`latest`](crate::Aggregated::latest)) have no record for it.
    /// * A write that is older than `ttl` replaces what was there, and its row is gone at once.
    ///
    /// A new version of a program may change, add or remove `ttl`. The writer's `Table` decides; a
    /// reader need not repeat it. Windowed tables have a
    /// [`retention`](crate::window::Tumbling::retention) instead; `build()` refuses a `ttl` there,
    /// and for global tables.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let payments = Topic::<String, i64>::new("payments");
    /// let once = Topic::new("once");
    /// let seen = Table::<String, i64>::new("seen").ttl(Duration::from_secs(600));
    /// let app = Builder::new("example");
    /// let table = seen.clone();
    /// let deduplicate = app.stream(&payments).process::<String, i64>("deduplicate").table(&seen);
    /// let deduplicated = deduplicate.each(move |payment, cx| {
    ///     let mut seen = cx.table(&table)?;
    ///     if seen.get(&payment.key)?.is_some() {
    ///         return Ok(());
    ///     }
    ///     seen.put(&payment.key, &payment.timestamp)?;
    ///     cx.forward(payment)
    /// });
    /// deduplicated.to(&once);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for seconds in [0, 5, 599, 600] {
    ///     test.send_record(&payments, Record::new("p-7".into(), seconds, seconds * 1000))?;
    /// }
    /// assert_eq!(test.take(&once)?, [("p-7".to_owned(), 0), ("p-7".to_owned(), 600)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_ms = Some(millis(ttl));
        self
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How its keys are written.
    pub fn key_codec(&self) -> &Arc<dyn Codec<K>> {
        &self.key
    }

    /// How its values are written.
    pub fn value_codec(&self) -> &Arc<dyn Codec<V>> {
        &self.value
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            ttl_ms: self.ttl_ms,
        }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.name)
    }
}
