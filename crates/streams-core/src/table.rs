//! Tables as the user names them: named, typed state with one writer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Codec, Json, JsonValue, Natural, NaturalKey};
use crate::window::millis;

/// The typed name of a table. It is not a handle: operators write the table, and agents access it
/// through their [`Context`](crate::agent::Context). Cheap to clone.
///
/// Each partition of a table is in its task's store and is logged to `{application
/// id}-{name}-changelog`. The name identifies the data. If a table's name differs from the previous
/// run, the start is refused, unless you tell the application to accept that and to begin with an
/// empty table.
pub struct Table<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Arc<dyn Codec<V>>,
    /// How long its rows are retained, in milliseconds of stream time; `None` is without limit.
    pub(crate) ttl_ms: Option<i64>,
}

impl<K: 'static, V: 'static> Table<K, V> {
    /// Creates a table with keys and values in their [natural](Natural) bytes: counts, sums,
    /// strings.
    pub fn new(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: Natural,
    {
        Self { name: name.into(), key: K::codec(), value: V::codec(), ttl_ms: None }
    }

    /// Creates a table with natural keys and JSON values.
    pub fn json(name: impl Into<Arc<str>>) -> Self
    where
        K: NaturalKey,
        V: JsonValue,
    {
        Self { name: name.into(), key: K::codec(), value: Arc::new(Json), ttl_ms: None }
    }

    /// Creates a table with codecs of your choice.
    pub fn with(name: impl Into<Arc<str>>, key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: name.into(), key: Arc::new(key), value: Arc::new(value), ttl_ms: None }
    }

    /// Expires each row after `ttl` of stream time: a row expires when the table's stream time
    /// reaches the row's timestamp plus `ttl`. The unit is whole milliseconds, and the minimum is
    /// one. By default, rows stay until they are deleted.
    ///
    /// The table's stream time is the highest timestamp of the records that reached its writer,
    /// whether they changed a row or not. If an agent writes the table, it is the highest timestamp
    /// of the rows that the agent wrote; a read uses the time of the agent's current record if that
    /// is later. Stream time is committed with the offsets and stands still while no record
    /// arrives. A reader's records do not advance it. A row's timestamp is that of the record that
    /// wrote it last; an aggregate's is the highest of its records.
    ///
    /// * Reads do not show expired rows. The record that advances stream time past a row deletes
    ///   it, with a tombstone in the changelog. If more than a thousand rows expire at once, the
    ///   rest are deleted before the next record.
    /// * An aggregate whose row has expired starts from nothing.
    /// * Downstream tables and joins see the row's deletion; that change has the row's timestamp
    ///   plus `ttl`. Streams of aggregates ([`updates`](crate::Aggregated::updates),
    ///   [`latest`](crate::Aggregated::latest)) have no record for it.
    /// * A write that is older than `ttl` replaces the previous row and expires at once.
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
