//! A topology without a broker, in virtual time: send records in, take records out.

mod limits;
mod log;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{
    Codec, Headers, Moment, OwnedRecord, Record, Table, TaskError, TaskId, TaskMetrics, Timestamp,
    Topic, Topology, Windowed, Windows,
};

use crate::dice::Dice;
use limits::TestTopicLimits;
use log::TestLog;
use run::{Abort, TaskWorld, Tasks};

/// Runs a topology's real tasks over a log in memory, one record after the other. Each record is
/// processed with everything it causes, including repartition topics, and then committed.
///
/// `tokio::time` in agents is virtual too: see [`advance`](Self::advance).
///
/// ```
/// use headwater_testkit::TopologyTest;
/// use headwater::{Builder, Topic};
///
/// let words = Topic::<String, String>::new("words");
/// let lengths = Topic::<String, u32>::new("lengths");
/// let app = Builder::new("lengths");
/// app.stream(&words).map_values(|word| word.len() as u32).to(&lengths);
///
/// let mut test = TopologyTest::new(app.build()?);
/// test.send(&words, "k".to_owned(), "stream".to_owned())?;
/// assert_eq!(test.take(&lengths)?, [("k".to_owned(), 6)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopologyTest {
    topology: Arc<Topology>,
    log: TestLog,
    limits: Arc<TestTopicLimits>,
    tasks: Tasks,
    now: Moment,
    /// How many records of each output topic have been taken.
    taken: BTreeMap<Arc<str>, usize>,
    abort: Option<Abort>,
    dice: Option<Dice>,
    portion: Option<usize>,
}

impl TopologyTest {
    /// Runs the topology with one partition for every topic. The clock starts at 0 (the first
    /// millisecond of 1970).
    pub fn new(topology: Topology) -> Self {
        Self::with_partitions(topology, &[])
    }

    /// Runs the topology with these numbers of partitions; topics not listed have one. Internal
    /// topics have as many as the topology requires.
    pub fn with_partitions(topology: Topology, partitions: &[(&str, i32)]) -> Self {
        let topology = Arc::new(topology);
        let log = TestLog::new(&topology, partitions);
        let limits = Arc::<TestTopicLimits>::default();
        let now = Moment::default();
        let tasks = Tasks::new(&topology, &log, &limits, 0, now);
        Self {
            topology,
            log,
            limits,
            tasks,
            now,
            taken: BTreeMap::new(),
            abort: None,
            dice: None,
            portion: None,
        }
    }

    /// Starts the application at this date, in milliseconds since the Unix epoch. Call it before
    /// anything runs; [`set_date`](Self::set_date) is for later.
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use headwater::{Builder, Topic};
    ///
    /// let words = Topic::<String, String>::new("words");
    /// let copies = Topic::<String, String>::new("copies");
    /// let app = Builder::new("copy");
    /// app.stream(&words).to(&copies);
    ///
    /// let mut test = TopologyTest::new(app.build()?).at(1_700_000_000_000);
    /// test.send(&words, "k".to_owned(), "stream".to_owned())?;
    /// assert_eq!(test.take_records(&copies)?[0].timestamp, 1_700_000_000_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(mut self, date: Timestamp) -> Self {
        self.now.date = date;
        self
    }

    /// Sends a record with the current time as its timestamp, and runs everything it causes.
    pub fn send<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: K,
        value: V,
    ) -> Result<(), TestError> {
        let timestamp = self.now.date;
        self.send_record(topic, Record { key, value, timestamp })
    }

    /// Sends a record with its own timestamp, and runs everything it causes.
    pub fn send_record<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        record: Record<K, V>,
    ) -> Result<(), TestError> {
        let record = raw(topic, &record)?;
        self.send_raw(topic.name(), record)
    }

    /// Sends bytes, and runs everything they cause. The log assigns the record's offset.
    pub fn send_raw(&mut self, topic: &str, record: OwnedRecord) -> Result<(), TestError> {
        self.log.append(topic, None, record);
        self.run()
    }

    /// Sends a record without running anything.
    pub fn queue<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        record: &Record<K, V>,
    ) -> Result<(), TestError> {
        let record = raw(topic, record)?;
        self.log.append(topic.name(), None, record);
        Ok(())
    }

    /// Sends bytes without running anything; the next call runs them.
    pub fn queue_raw(&mut self, topic: &str, partition: i32, record: OwnedRecord) {
        self.log.append(topic, Some(partition), record);
    }

    /// Lets time pass and runs what is due.
    ///
    /// Every `tokio::time` timer of agents, `map_async` and tasks that they spawn fires at its own
    /// millisecond, and so does every retry. Between two calls no time passes. Anything else that
    /// an agent awaits (a channel, a spawned task) proceeds within any call as soon as it can.
    /// `spawn_blocking` uses a real thread, and `advance` waits for it. Sockets are refused: let
    /// the agent call a stub, such as [`Calls`](crate::Calls). Punctuations and ticks that are
    /// skipped by the jump are missed, as if the process had been frozen.
    ///
    /// The records that an agent sends stay invisible until it is done with the input record:
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use headwater::{Builder, Topic};
    /// use std::time::Duration;
    ///
    /// let words = Topic::<String, String>::new("words");
    /// let app = Builder::new("patient");
    /// app.agent("wait", &words).sends(&Topic::<String, String>::new("slowly")).run(
    ///     |mut words, cx| async move {
    ///         let slowly = Topic::new("slowly");
    ///         while let Some(word) = words.next().await {
    ///             cx.send(&slowly, word.key.clone(), format!("{}...", word.value))?;
    ///             tokio::time::sleep(Duration::from_secs(60)).await;
    ///             cx.send(&slowly, word.key, word.value)?;
    ///         }
    ///         Ok(())
    ///     },
    /// );
    ///
    /// let slowly = Topic::<String, String>::new("slowly");
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&words, "k".to_owned(), "stream".to_owned())?;
    /// test.advance(Duration::from_millis(59_999))?;
    /// assert!(test.take(&slowly)?.is_empty());
    /// test.advance(Duration::from_millis(1))?;
    /// let sent = ["stream...", "stream"].map(|word| ("k".to_owned(), word.to_owned()));
    /// assert_eq!(test.take(&slowly)?, sent);
    /// test.finish()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance(&mut self, by: Duration) -> Result<(), TestError> {
        // Agents that have not started yet start before time passes.
        self.run()?;
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let until = self.now.elapsed_ms.saturating_add(by);
        while self.now.elapsed_ms < until {
            let reached = self.tasks.pass(self.now.elapsed_ms, until);
            self.now.date = self.now.date.saturating_add(reached - self.now.elapsed_ms);
            self.now.elapsed_ms = reached;
            self.run()?;
        }
        Ok(())
    }

    /// Ends the test. The error names the records that are not acknowledged, because an agent still
    /// awaits something or collects a batch. Without this call they go unnoticed.
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use headwater::{Builder, Topic};
    /// use std::time::Duration;
    ///
    /// let words = Topic::<String, String>::new("words");
    /// let app = Builder::new("patient");
    /// app.agent("wait", &words).run(|mut words, _| async move {
    ///     while words.next().await.is_some() {
    ///         tokio::time::sleep(Duration::from_secs(60)).await;
    ///     }
    ///     Ok(())
    /// });
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send(&words, "k".to_owned(), "stream".to_owned())?;
    /// let error = test.finish().expect_err("the agent sleeps").to_string();
    /// assert!(error.contains("1 of words-0, from offset 0 on"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish(mut self) -> Result<(), TestError> {
        self.run()?;
        let unfinished = self.tasks.unfinished(&self.topology, &self.log);
        if unfinished.is_empty() { Ok(()) } else { Err(TestError::Unfinished(unfinished)) }
    }

    /// Sets the date, forward or back, without time passing, as people and time servers do on a
    /// real machine. Intervals are not affected: punctuation, idle windows, batches of agents.
    pub fn set_date(&mut self, date: Timestamp) -> Result<(), TestError> {
        self.run()?;
        self.now.date = date;
        self.run()
    }

    /// The records sent to `topic` since the last call, as keys and values.
    pub fn take<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
    ) -> Result<Vec<(K, V)>, TestError> {
        let records = self.take_records(topic)?;
        Ok(records.into_iter().map(|record| (record.key, record.value)).collect())
    }

    /// The records sent to `topic` since the last call, with their timestamps.
    pub fn take_records<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
    ) -> Result<Vec<Record<K, V>>, TestError> {
        let decode = |raw: OwnedRecord| {
            Ok(Record {
                key: topic.key_codec().decode(raw.key.as_deref())?,
                value: topic.value_codec().decode(raw.value.as_deref())?,
                timestamp: raw.timestamp,
            })
        };
        self.take_raw(topic.name()).into_iter().map(decode).collect()
    }

    /// The bytes sent to `topic` since the last call.
    pub fn take_raw(&mut self, topic: &str) -> Vec<OwnedRecord> {
        let all = self.log.all(topic);
        let taken = self.taken.entry(topic.into()).or_default();
        let new = all.get(*taken..).unwrap_or_default().to_vec();
        *taken = all.len();
        new
    }

    /// The value of `key` in a table without windows, in whichever task has it.
    pub fn table<K: 'static, V: 'static>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, TestError> {
        let key = encoded(&**table.key_codec(), key)?.unwrap_or_default();
        let found = self.tasks.table_value(&self.topology, table.name(), &key)?;
        Ok(found.map(|value| table.value_codec().decode(Some(&value))).transpose()?)
    }

    /// All rows of a table without windows, with their timestamps, partition by partition in the
    /// order of their keys' bytes.
    pub fn table_rows<K: 'static, V: 'static>(
        &mut self,
        table: &Table<K, V>,
    ) -> Result<Vec<Record<K, V>>, TestError> {
        self.rows(table, |key| Ok(table.key_codec().decode(Some(key))?))
    }

    /// All windows of a windowed table, with the largest timestamp in each (a session's end),
    /// partition by partition in the order of their bytes.
    pub fn table_windows<K: 'static, V: 'static>(
        &mut self,
        table: &Table<K, V>,
        windows: &(impl Windows + Clone),
    ) -> Result<Vec<Record<Windowed<K>, V>>, TestError> {
        let codec = windows.changelog_key(table.key_codec());
        self.rows(table, |key| Ok(codec.decode(Some(key))?))
    }

    fn rows<K, T, V: 'static>(
        &mut self,
        table: &Table<T, V>,
        key: impl Fn(&[u8]) -> Result<K, TestError>,
    ) -> Result<Vec<Record<K, V>>, TestError>
    where
        T: 'static,
    {
        let entries = self.tasks.table_entries(&self.topology, table.name())?;
        let row = |(bytes, stored): (Vec<u8>, Vec<u8>)| {
            // The store keeps a timestamp of eight bytes in front.
            let (timestamp, value) = stored.split_at(8.min(stored.len()));
            Ok(Record {
                key: key(&bytes)?,
                value: table.value_codec().decode(Some(value))?,
                timestamp: timestamp.try_into().map_or(0, i64::from_be_bytes),
            })
        };
        entries.into_iter().map(row).collect()
    }

    /// Loses all local state, restores it from the changelogs and continues.
    pub fn crash(&mut self) -> Result<(), TestError> {
        self.crash_keeping(0)
    }

    /// Crashes, keeping `eighths` eighths of the state (rounded down); the rest is restored from
    /// the changelogs.
    pub fn crash_keeping(&mut self, eighths: usize) -> Result<(), TestError> {
        self.tasks = Tasks::new(&self.topology, &self.log, &self.limits, eighths, self.now);
        self.run()
    }

    /// Calls `abort` before each commit of a task. If it returns true, the transaction is aborted,
    /// and the task goes back to the last commit and repeats the work. It must return false
    /// eventually, or the work never ends.
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use headwater::{Builder, Table, Topic};
    ///
    /// let words = Topic::<String, String>::new("words");
    /// let counts = Topic::<String, u64>::new("counts");
    /// let app = Builder::new("counts");
    /// app.stream(&words).group_by_key().count(&Table::new("counts")).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// let mut aborts = 3;
    /// test.abort_when(move |_| {
    ///     aborts -= 1;
    ///     aborts >= 0
    /// });
    /// test.send(&words, "k".to_owned(), "stream".to_owned())?;
    /// assert_eq!(test.take(&counts)?, [("k".to_owned(), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn abort_when(&mut self, abort: impl FnMut(TaskId) -> bool + Send + 'static) {
        self.abort = Some(Box::new(abort));
    }

    /// Gives tasks random turns of a few records each from now on; the same `seed` gives the same
    /// turns. Results must not depend on it, except for the order of records with different keys.
    /// To use it, [`queue`](Self::queue) some records, then [`run`](Self::run).
    pub fn interleave(&mut self, seed: u64) {
        self.dice = Some(Dice::new(seed));
    }

    /// Makes a task commit after each record from now on, and handle due work (windows that close,
    /// changes that leave a suppress, records without a partner, …) in portions of this size, each
    /// with its own commit. Results must not depend on it.
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    ///
    /// let words = Topic::<String, i64>::new("words");
    /// let out = Topic::<String, i64>::new("out");
    /// let app = Builder::new("counts");
    /// let windows = Tumbling::of(Duration::from_secs(1));
    /// let counts = app.stream(&words).group_by_key().window(windows).count(&Table::new("counts"));
    /// counts.closed().map(|window, count| (window.key, count as i64)).to(&out);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.portions(2);
    /// for (word, at) in [("a", 1), ("b", 2), ("c", 3), ("d", 5_000)] {
    ///     test.send_record(&words, Record::new(word.to_owned(), 1, at))?;
    /// }
    /// assert_eq!(test.take(&out)?, ["a", "b", "c"].map(|word| (word.to_owned(), 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn portions(&mut self, entries: usize) {
        self.portion = Some(entries);
    }

    /// Sets `max.message.bytes` of a topic, which may be an internal one; default 1,048,588, as in
    /// Kafka. A larger output is an error of the record that caused it, as with a broker.
    ///
    /// ```
    /// use headwater_testkit::TopologyTest;
    /// use headwater::{Builder, Topic};
    /// let words = Topic::<String, String>::new("words");
    /// let app = Builder::new("copy");
    /// app.stream(&words).to(&Topic::new("copies"));
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.max_message_bytes("copies", 100);
    /// let sent = test.send(&words, "k".to_owned(), "long".repeat(20));
    /// let error = sent.expect_err("too large").to_string();
    /// assert!(error.contains("has 151 bytes, more than the 100 of max.message.bytes"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_message_bytes(&mut self, topic: &str, bytes_max: usize) {
        self.limits.set(topic, bytes_max);
        self.tasks.limit();
    }

    /// The counters of all tasks, summed. A crash resets them.
    pub fn metrics(&self) -> TaskMetrics {
        self.tasks.metrics()
    }

    /// Descriptions of the records that failed and were skipped or sent to a dead-letter topic.
    pub fn failed(&self) -> &[String] {
        self.tasks.failed()
    }

    /// Runs everything queued, with everything it causes.
    pub fn run(&mut self) -> Result<(), TestError> {
        let Self { topology, log, abort, dice, portion, .. } = self;
        let portion = *portion;
        self.tasks.run(&mut TaskWorld { topology, log, now: self.now, abort, dice, portion })
    }
}

fn raw<K: 'static, V: 'static>(
    topic: &Topic<K, V>,
    record: &Record<K, V>,
) -> Result<OwnedRecord, TestError> {
    Ok(OwnedRecord {
        offset: 0,
        timestamp: record.timestamp,
        key: encoded(&**topic.key_codec(), &record.key)?,
        value: encoded(&**topic.value_codec(), &record.value)?,
        headers: Headers::new(),
    })
}

fn encoded<T>(codec: &dyn Codec<T>, value: &T) -> Result<Option<Box<[u8]>>, TestError>
where
    T: 'static,
{
    let mut bytes = Vec::new();
    Ok(codec.encode(value, &mut bytes)?.then(|| bytes.into()))
}

streams_core::debug_is_display!(TestError);

/// An error of a topology test.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// A task failed: its source's policy is to fail.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A key or value could not be encoded or decoded with the topic's codec.
    #[error(transparent)]
    Codec(#[from] streams_core::CodecError),
    /// A record in a global table's topic is not a valid row, and the policy is to fail.
    #[error(transparent)]
    Global(streams_core::RecordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] streams_core::StoreError),
    /// Records are not acknowledged; see [`finish`](TopologyTest::finish).
    #[error(
        "not acknowledged: {}; an agent awaits something, or collects a batch: advance() lets time \
         pass",
        .0.join("; ")
    )]
    Unfinished(Vec<String>),
    /// Agents wake themselves repeatedly without any time passing, and make no progress.
    #[error("agents wake themselves without end: one of them loops without awaiting anything")]
    Restless,
    /// The tokio runtime for the agents could not be created.
    #[error("the tokio runtime of the test: {0}")]
    Runtime(#[source] std::io::Error),
    /// A changelog contains something other than the table's entries.
    #[error(transparent)]
    Restore(#[from] streams_core::RestoreError),
}
