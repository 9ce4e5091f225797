//! Configuration: one documented struct, filled by code, from a file or from the environment.

mod check;
mod load;
mod task_idle;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use check::ConfigError;
pub use task_idle::TaskIdle;
pub use units::ByteSize;

/// How an application runs. Every field has a default; `Config::default()` is exactly-once on an
/// in-memory log.
///
/// ```
/// use headwater::Config;
/// use headwater::config::Guarantee;
/// use std::time::Duration;
/// let config = Config {
///     broker: "kafka://127.0.0.1:9092".to_owned(),
///     guarantee: Guarantee::ExactlyOnce,
///     commit_interval: Some(Duration::from_millis(50)),
///     ..Config::default()
/// };
/// let from_file = Config::from_toml(r#"
///     broker = "kafka://127.0.0.1:9092"
///     commit_interval = "50ms"
/// "#)?;
/// assert_eq!(config, from_file);
/// # Ok::<(), headwater::errors::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the log is: `kafka://host:port[,host:port]`, `embedded:` (in memory) or
    /// `embedded:./dir`. A damaged embedded log is refused; `embedded:./dir?damaged=skip` opens it
    /// without its damaged records. With `?verify=read` records are verified when they are read,
    /// and not all of them when the log is opened.
    pub broker: String,
    /// What a crash may cost. Default: [`Guarantee::ExactlyOnce`].
    pub guarantee: Guarantee,
    /// The time from the beginning of one commit to the beginning of the next. Under exactly-once,
    /// outputs become visible to `read_committed` readers with the commit. After a quiet time the
    /// first records are committed at once. Commits that take long leave as much time for records
    /// as they take. Shorter intervals mean lower latency and more commits. Default: 100 ms under
    /// exactly-once, 1 s under at-least-once.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub commit_interval: Option<Duration>,
    /// Threads that process tasks, each with a producer of its own. Default: 1.
    pub worker_threads: usize,
    /// Threads that restore tables from their changelogs, each for some of the tasks. They sleep
    /// when that is done. Default: 2.
    pub restore_threads: usize,
    /// The directory for tables and the instance's identity. Tables in RocksDB need one. Default:
    /// none.
    pub state_dir: Option<PathBuf>,
    /// Where tables are kept. Default: [`TableStorage::Memory`] without a `state_dir`,
    /// [`TableStorage::Rocksdb`] with one.
    pub tables: Option<TableStorage>,
    /// Names this instance among those of the application; part of its transactional ids. Default:
    /// generated once and kept in the state directory; without one, generated for each start.
    pub instance_id: Option<Arc<str>>,
    /// After how long without a heartbeat the group gives an instance's partitions to other
    /// members; Kafka's `session.timeout.ms`. Default: 10 s.
    #[serde(with = "units::duration")]
    pub session_timeout: Duration,
    /// How often an instance sends the group a heartbeat, and so how soon it learns of a rebalance.
    /// Default: 500 ms.
    #[serde(with = "units::duration")]
    pub heartbeat_interval: Duration,
    /// After how long the log aborts a transaction that is left open; an agent may not be busy
    /// with a record for longer. Default: 10 s, as in Kafka Streams.
    #[serde(with = "units::duration")]
    pub transaction_timeout: Duration,
    /// How long to try to reach the log at the start. Default: 30 s.
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// How long one request to the log may take. Default: 10 s.
    #[serde(with = "units::duration")]
    pub request_timeout: Duration,
    /// How long a graceful stop may take. Default: 10 s.
    #[serde(with = "units::duration")]
    pub shutdown_timeout: Duration,
    /// The memory budget of the process: an eighth each for fetched records, uncommitted table
    /// entries, records that are being sent, and changelogs that are being read; half of it for
    /// RocksDB. The [status](crate::MemoryStatus) shows how much is in use. Default: 256 MiB.
    pub memory: ByteSize,
    /// Replicas of internal topics. Default: the broker's default.
    pub replication: Option<i32>,
    /// What to do with a topology that has no place for state of the last run, or has changed it.
    /// Default: refuse it, with the difference.
    pub topology_changes: TopologyChanges,
    /// How long a task with several inputs waits for one of them whose log has nothing more, while
    /// others have records. With a wait, records that are written a moment late are still processed
    /// in the order of their timestamps. Default: only until the log has answered that it has
    /// nothing more, as with Kafka Streams' `max.task.idle.ms` of 0.
    pub task_idle: TaskIdle,
    /// How many records a worker takes from the log at a time. Default: 2,000.
    pub poll_records_max: usize,
    /// Client properties for Kafka, by role.
    pub kafka: KafkaProperties,
}

/// What a crash may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Every effect of every record happens exactly once: one transaction commits outputs, tables
    /// and offsets.
    #[default]
    ExactlyOnce,
    /// No record is lost. After a crash, the effects of records that were not committed may happen
    /// again.
    AtLeastOnce,
}

/// What to do with a topology that has lost or changed state.
///
/// The topic `{application id}-topology` records what the application had when it last ran: the
/// topics it consumes, its repartition topics, its tables. Additions are always accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopologyChanges {
    /// The start ends with [`AppError::TopologyChanged`](crate::AppError::TopologyChanged) before
    /// anything is touched.
    #[default]
    Refuse,
    /// The new topology replaces the old one. State that has no place in it stays where it is,
    /// unused. Records that wait in a repartition topic which is gone are not processed. A table
    /// that kept its name, but holds windows of another kind or length, is refused nevertheless,
    /// with [`AppError::TableMeansSomethingElse`](crate::AppError::TableMeansSomethingElse).
    Accept,
}

/// Where tables are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableStorage {
    /// In memory; each start restores them from their changelogs.
    Memory,
    /// In RocksDB under the state directory; a start restores what is missing.
    Rocksdb,
}

/// Settings of Kafka's clients: librdkafka's properties, by role, and the protocol of transactions.
/// The Kafka transport refuses properties that would break the guarantee.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaProperties {
    /// For every client: `security.protocol`, `sasl.username`, …
    pub common: BTreeMap<String, String>,
    /// For consumers.
    pub consumer: BTreeMap<String, String>,
    /// For producers.
    pub producer: BTreeMap<String, String>,
    /// For administrative clients.
    pub admin: BTreeMap<String, String>,
    /// Which protocol transactions use. Default: the second one, wherever that is possible.
    pub transactions: Transactions,
}

/// Which protocol transactions use.
///
/// Under the second one (KIP-890, brokers 4.0 and later) each transaction has an epoch of its own:
/// no request that arrives late can end another transaction, or write into it. A second client
/// speaks it, which knows fewer properties, no TLS, and of SASL only PLAIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transactions {
    /// The second one where the cluster and the properties allow it, otherwise the first one. The
    /// choice is logged with its reason.
    #[default]
    Auto,
    /// The first one, through librdkafka.
    V1,
    /// The second one; an error where that is not possible.
    V2,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker: "embedded:".to_owned(),
            guarantee: Guarantee::ExactlyOnce,
            commit_interval: None,
            worker_threads: 1,
            restore_threads: 2,
            state_dir: None,
            tables: None,
            instance_id: None,
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(500),
            transaction_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            memory: ByteSize::mib(256),
            replication: None,
            topology_changes: TopologyChanges::Refuse,
            task_idle: TaskIdle::default(),
            poll_records_max: 2_000,
            kafka: KafkaProperties::default(),
        }
    }
}

impl Config {
    /// The commit interval, or the guarantee's default.
    pub fn commit_interval(&self) -> Duration {
        self.commit_interval.unwrap_or(match self.guarantee {
            Guarantee::ExactlyOnce => Duration::from_millis(100),
            Guarantee::AtLeastOnce => Duration::from_secs(1),
        })
    }

    /// Where tables are kept, or the default that follows from the state directory.
    pub fn tables(&self) -> TableStorage {
        let by_dir =
            if self.state_dir.is_some() { TableStorage::Rocksdb } else { TableStorage::Memory };
        self.tables.unwrap_or(by_dir)
    }

    /// The share of the memory budget, in bytes, for records that were fetched and wait for a
    /// worker. As many bytes may wait in the workers' tasks.
    pub fn fetch_bytes(&self) -> usize {
        self.memory.bytes() / 16
    }

    /// One worker's share of the memory budget for records that wait in its tasks.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.memory.bytes() / 16 / self.worker_threads.max(1)
    }

    /// One restorer's share of the memory budget for changelog records that were fetched and not
    /// read yet. As many bytes may be read and not applied yet.
    pub(crate) fn restore_bytes(&self) -> usize {
        self.memory.bytes() / 16 / self.restore_threads.max(1)
    }

    /// One worker's share of the memory budget for uncommitted table entries.
    pub fn overlay_bytes(&self) -> usize {
        self.memory.bytes() / 8 / self.worker_threads.max(1)
    }

    /// One producer's share of the memory budget.
    pub fn producer_bytes(&self) -> usize {
        self.memory.bytes() / 8 / self.worker_threads.max(1)
    }

    /// The share of the memory budget for RocksDB.
    pub fn store_bytes(&self) -> usize {
        self.memory.bytes() / 2
    }

    pub(crate) fn exactly_once(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }
}

impl fmt::Debug for Config {
    /// As TOML, without the values of Kafka properties and without what precedes an `@` in the
    /// broker's URL: they hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        let KafkaProperties { common, consumer, producer, admin, .. } = &mut shown.kafka;
        for value in [common, consumer, producer, admin].into_iter().flat_map(BTreeMap::values_mut)
        {
            *value = "…".to_owned();
        }
        if let (Some(scheme), Some(at)) = (shown.broker.find(':'), shown.broker.rfind('@')) {
            shown.broker.replace_range(scheme.min(at) + 1..at, "…");
        }
        // TOML is text, and has signed numbers.
        let text = |dir: PathBuf| dir.to_string_lossy().into_owned().into();
        shown.state_dir = shown.state_dir.map(text);
        shown.memory.0 = shown.memory.0.min(i64::MAX as u64);
        match toml::to_string(&shown) {
            Ok(text) => f.write_str(&text),
            Err(error) => write!(f, "a configuration that cannot be written as TOML: {error}"),
        }
    }
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = [&self.common, &self.consumer, &self.producer, &self.admin];
        f.debug_set().entries(roles.into_iter().flat_map(BTreeMap::keys)).finish()
    }
}
