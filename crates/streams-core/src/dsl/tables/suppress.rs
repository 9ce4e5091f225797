//! Holding changes back until a window is final, or for a time.

use std::sync::Arc;
use std::time::Duration;

use super::TableStream;
use crate::builder::{Graph, Types};
use crate::chain::Chain;
use crate::codec::{Changed, Codec, HeldChange, Json};
use crate::operators::suppress::{LAYOUT, SuppressBuffer, SuppressedRows, SuppressedTable, Until};
use crate::window::millis;

/// When [`TableStream::suppress`] emits changes, and how many it may hold.
///
/// ```
/// use std::time::Duration;
/// use headwater::tables::{BufferFull, Suppress};
/// let minute = Suppress::until_time_limit(Duration::from_secs(60)).max_records(10_000);
/// let closes = Suppress::until_window_closes().max_bytes(100_000_000).when_full(BufferFull::Fail);
/// # let _ = (minute, closes);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Suppress<C = Json> {
    codec: C,
    /// `None`: until the window closes.
    limit_ms: Option<i64>,
    max_records: Option<u64>,
    max_bytes: Option<u64>,
    when_full: Option<BufferFull>,
}

/// What happens when a buffer exceeds its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferFull {
    /// The oldest changes are emitted early.
    EmitEarly,
    /// The record is an error, and its source's error policy decides.
    Fail,
}

impl Suppress {
    /// Emits only the final results of windows: each window's last value, when stream time has
    /// passed its end plus grace. Rows that are deleted by then are never emitted.
    pub fn until_window_closes() -> Self {
        Self { codec: Json, limit_ms: None, max_records: None, max_bytes: None, when_full: None }
    }

    /// Emits at most one change per key in that time: the first change waits until stream time is
    /// `limit` past it, and then the last value is emitted. With a limit of zero nothing is held
    /// back.
    pub fn until_time_limit(limit: Duration) -> Self {
        Self { limit_ms: Some(millis(limit)), ..Self::until_window_closes() }
    }
}

impl<C> Suppress<C> {
    /// Sets the codec of the held changes. Default: JSON.
    ///
    /// ```
    /// use headwater::{Builder, Table, Topic};
    /// use headwater::codec::Text;
    /// use headwater::tables::Suppress;
    /// use std::time::Duration;
    /// let prices = Topic::<String, i64>::new("prices");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// let limit = Suppress::until_time_limit(Duration::from_secs(10)).codec(Text);
    /// let slow = app.table(&prices, &Table::new("prices")).suppress(limit, "slow");
    /// slow.to_stream().to(&out);
    /// # app.build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn codec<C2>(self, codec: C2) -> Suppress<C2> {
        let Self { limit_ms, max_records, max_bytes, when_full, .. } = self;
        Suppress { codec, limit_ms, max_records, max_bytes, when_full }
    }

    /// Holds at most this many keys. Default: no limit.
    #[must_use]
    pub fn max_records(mut self, max: u64) -> Self {
        self.max_records = Some(max);
        self
    }

    /// Holds at most this many bytes of keys and values. Default: no limit.
    #[must_use]
    pub fn max_bytes(mut self, max: u64) -> Self {
        self.max_bytes = Some(max);
        self
    }

    /// Sets what happens when the buffer is full. The default is [`BufferFull::EmitEarly`] with a
    /// time limit and [`BufferFull::Fail`] for windows. For windows `build()` refuses `EmitEarly`,
    /// because an early result would not be final.
    #[must_use]
    pub fn when_full(mut self, policy: BufferFull) -> Self {
        self.when_full = Some(policy);
        self
    }
}

impl<'b, K: Clone + 'static, V: Clone + 'static> TableStream<'b, K, V> {
    /// Holds changes back as `suppress` says: fewer updates, or only final ones. The held changes
    /// are stored under `name`, with a changelog and values as JSON unless
    /// [`codec`](Suppress::codec) sets another codec. Stream time is that of the changes that
    /// arrive here. An emitted change has the timestamp and the headers of its own record.
    ///
    /// Sliding windows and sessions include their end. A record exactly at the close therefore
    /// still changes the window, and a second result follows, as in Kafka Streams. The same happens
    /// when a late record joins a session that has a longer `retention`.
    /// [`closed`](crate::WindowAggregated::closed) emits exactly one result.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::tables::Suppress;
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let prices = Topic::<String, i64>::new("prices");
    /// let out = Topic::<String, Option<i64>>::new("out");
    /// let app = Builder::new("example");
    /// let table = app.table(&prices, &Table::new("prices"));
    /// let slow = table.suppress(Suppress::until_time_limit(Duration::from_secs(10)), "slow");
    /// slow.to_stream().to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for (price, seconds) in [(3, 1), (4, 5), (5, 11)] {
    ///     test.send_record(&prices, Record::new("tea".into(), price, seconds * 1000))?;
    /// }
    /// assert_eq!(test.take(&out)?, [("tea".to_owned(), Some(5))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn suppress<C: Codec<V>>(
        &self,
        suppress: Suppress<C>,
        name: &str,
    ) -> TableStream<'b, K, V> {
        let builder = self.builder;
        let node = self.add_node("suppress");
        let until = self.until(&suppress, name);
        let codec: Arc<dyn Codec<V>> = Arc::new(suppress.codec);
        let name: Arc<str> = name.into();
        let types = Some(Types::new(&*self.key, &*codec));
        let add_table = |graph: &mut Graph| graph.add_table(&name, LAYOUT, types, "suppress", node);
        let index = builder.graph(add_table);
        let clock = builder.graph(|graph| graph.add_clock(Arc::clone(&name), node));
        let fails = suppress.when_full.unwrap_or(match until {
            Until::Final(_) => BufferFull::Fail,
            Until::Limit(_) => BufferFull::EmitEarly,
        });
        let buffer = Arc::new(SuppressBuffer {
            name,
            index,
            key: Arc::clone(&self.key),
            value: HeldChange(Changed(codec)),
        });
        let rows = SuppressedRows { buffer: Arc::clone(&buffer), rows: Arc::clone(&self.rows) };
        let suppressed = self.next(node, Arc::new(rows));
        let operator = Arc::new(SuppressedTable {
            buffer,
            clock,
            state: builder.graph(Graph::add_state),
            until,
            max_records: suppress.max_records.unwrap_or(u64::MAX),
            max_bytes: suppress.max_bytes.unwrap_or(u64::MAX),
            fails: fails == BufferFull::Fail,
            changes: suppressed.changes.clone(),
        });
        builder.graph(|graph| graph.add_hook(node, Arc::clone(&operator) as _));
        self.changes.clone().connect(operator, builder);
        suppressed
    }

    fn until<C>(&self, suppress: &Suppress<C>, name: &str) -> Until<K> {
        if let Some(limit) = suppress.limit_ms {
            return Until::Limit(limit);
        }
        if suppress.when_full == Some(BufferFull::EmitEarly) {
            self.builder.problem(format!(
                "{name} cannot both hold windows until they are final and emit them early when it \
                 is full: choose one"
            ));
        }
        self.finality.map_or_else(
            || {
                self.builder.problem(format!(
                    "{name} cannot hold rows until their window closes: they have no windows"
                ));
                Until::Limit(0)
            },
            Until::Final,
        )
    }
}
