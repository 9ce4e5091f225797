//! Why an application could not start or had to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{RecordError, RestoreError, StoreError, TaskError, TopicPartition};

use crate::config::ConfigError;
use crate::transport::TransportError;

/// Why an application could not start or had to stop. Nothing after the record or step that it
/// names is committed.
///
/// `Debug` writes the same text as `Display`, so a `main` that returns it prints a sentence:
///
/// ```no_run
/// use headwater::prelude::*;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), headwater::errors::AppError> {
/// #   let topology = Builder::new("example").build().expect("valid");
///     App::new(topology, Config::default().with_env()?).run(shutdown_signal()).await
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be reached, or refuses something for good.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The log could not be reached within [`connect_timeout`](crate::Config::connect_timeout).
    #[error("gave up connecting to {broker} after {} s: {last}", waited.as_secs())]
    Unreachable {
        /// Where it was expected.
        broker: String,
        /// For how long it was tried.
        waited: Duration,
        /// The error of the last attempt.
        last: TransportError,
    },
    /// Topics that the topology uses do not exist.
    #[error("{0}")]
    NoTopics(MissingTopics),
    /// Topics that are consumed together have different numbers of partitions.
    #[error(
        "{first} has {first_partitions} partitions and {second} has {second_partitions}: they are \
         consumed together (a join, a merge or a shared table), so equal keys must be in equal \
         partitions. Create one of them again with as many partitions as the other"
    )]
    NotCoPartitioned {
        /// A topic.
        first: Arc<str>,
        /// Its partitions.
        first_partitions: i32,
        /// Another topic.
        second: Arc<str>,
        /// Its partitions.
        second_partitions: i32,
    },
    /// A topic got more partitions while an instance ran.
    #[error(
        "the topic {topic} has grown from {before} to {now} partitions: its keys are not in the \
         partitions any more where this application keeps state for them, or where the topics are \
         that it is consumed with. No record of the new partitions was processed. Copy the topic \
         into a new one, and consume that under a new application id"
    )]
    TopicGrew {
        /// The topic.
        topic: Arc<str>,
        /// Its partitions when the instance started.
        before: i32,
        /// Its partitions now.
        now: i32,
    },
    /// An internal topic exists with another number of partitions than it must have; or that number
    /// depends on nothing but itself.
    #[error("the internal topic {topic} has {what} {found}, and must have {expected}")]
    InternalTopic {
        /// The topic.
        topic: Arc<str>,
        /// What is wrong.
        what: &'static str,
        /// As it is.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// An internal topic exists with a setting that would lose, change or refuse its records.
    /// Records that were written under `message.timestamp.type=LogAppendTime` keep the broker's
    /// timestamps when the setting is changed. To replace them, start again under a new application
    /// id.
    #[error(
        "the internal topic {topic} has {setting}={found}, and must have {expected}. To change \
         it:\n\
         kafka-configs.sh --bootstrap-server <broker> --alter --entity-type topics \
         --entity-name {topic} --add-config {setting}={expected}{}",
        before_kafka_4(setting)
    )]
    InternalTopicSetting {
        /// The topic.
        topic: Arc<str>,
        /// The setting, by Kafka's name.
        setting: String,
        /// As it is.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// The topology has no place for some state of its last run, or has changed it.
    #[error(
        "the topology has changed since {application} last ran. It has no place for some of its \
         state, or would misread it:\n{difference}\nGive the tables and groups their old names, \
         windows and codecs; or give what has changed a new name, and set topology_changes to \
         accept"
    )]
    TopologyChanged {
        /// The application id.
        application: Arc<str>,
        /// Line by line, `-` for what was there and `+` for what is there now.
        difference: String,
    },
    /// A table's entries were written as something else than they would be read as. That is refused
    /// even if `topology_changes` is `accept`.
    #[error(
        "the table {table} holds {was}, and this topology would misread its entries as {is}. Give \
         the table another name; or, to start with an empty one, delete the topic {changelog} and \
         the state directories of all instances"
    )]
    TableMeansSomethingElse {
        /// The table.
        table: Arc<str>,
        /// Its changelog topic, which is not empty.
        changelog: Arc<str>,
        /// What it was when the application last ran.
        was: String,
        /// What it would be now.
        is: String,
    },
    /// Another application keeps something in a topic that this one would use, too: their ids and
    /// names, joined by dashes, make the same name.
    #[error(
        "the internal topic {topic} of {application} belongs to the application {other} already, \
         for {what}: both would write to it. Choose another application id, or another name for \
         what is kept there; or, if {other} no longer exists, delete its topic {other}-topology"
    )]
    TopicOfAnother {
        /// The application id.
        application: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// What the other application has in it.
        what: String,
        /// The other application's id.
        other: String,
    },
    /// A task failed; with the record that made it fail, if one did.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record of a global table's topic is not a row of the table.
    #[error("global table {table}: {error}")]
    Global {
        /// The table.
        table: Arc<str>,
        /// The record, and what is wrong with it.
        error: Box<RecordError>,
    },
    /// A record of a changelog is not an entry of its table.
    #[error("partition {partition}: {error}")]
    Restore {
        /// The changelog partition.
        partition: TopicPartition,
        /// What is wrong.
        error: RestoreError,
    },
    /// A table on disk was restored from offsets that its changelog does not have: the changelog
    /// was truncated, or deleted and created again, or belongs to another cluster.
    #[error(
        "the table on disk is as of offset {position} of {changelog}, which has offsets {begin} to \
         {end}: the topic was truncated, or deleted and created again, and the table may be all \
         that is left. Restore the topic; or delete the state directory, to keep only what the \
         topic holds"
    )]
    ChangelogLost {
        /// The changelog partition.
        changelog: TopicPartition,
        /// The table's position.
        position: i64,
        /// The changelog's first offset.
        begin: i64,
        /// The offset after its last record.
        end: i64,
    },
    /// An internal topic that the application had when it last ran is gone.
    #[error(
        "the internal topic {topic}, which {application} had when it last ran, no longer exists: \
         what was in it is lost. Restore it; or set topology_changes to accept, to go on with an \
         empty one"
    )]
    InternalTopicGone {
        /// The application id.
        application: Arc<str>,
        /// The topic.
        topic: Arc<str>,
    },
    /// The state directory cannot be used.
    #[error("{0}")]
    StateDirectory(String),
    /// The group has removed this instance. The instance joins again by itself; only several such
    /// losses within a minute are an error, because another process must be using the same instance
    /// id then.
    #[error(
        "the membership of the group was lost: {0}. If that repeats, another process uses the same \
         application id and instance id: give each instance its own"
    )]
    Membership(TransportError),
    /// Another process works under the same identity, and fences this one's producer.
    #[error(
        "the producer {transactional_id} was fenced {times} times in a minute: another process \
         uses the same application id and instance id. Give each instance its own"
    )]
    Fenced {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// How often.
        times: usize,
    },
    /// A thread of the runtime panicked, which is a bug in the runtime.
    #[error("a {thread} thread panicked: {message}")]
    Panicked {
        /// The thread's name.
        thread: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The graceful stop took longer than
    /// [`shutdown_timeout`](crate::Config::shutdown_timeout). What was not committed is processed
    /// again at the next start.
    #[error("the graceful stop did not finish within {} s (shutdown_timeout)", after.as_secs())]
    ShutdownTimeout {
        /// The time allowed.
        after: Duration,
    },
}

/// What has to be set as well on brokers that have the older name of a setting.
fn before_kafka_4(setting: &str) -> &'static str {
    match setting {
        "message.timestamp.before.max.ms" | "message.timestamp.after.max.ms" => {
            "\nBrokers before 3.6 have message.timestamp.difference.max.ms instead, and those \
             before 4.0 have it too: set it to the same"
        }
        _ => "",
    }
}

streams_core::debug_is_display!(AppError);

/// Topics that a topology uses and that do not exist: all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTopics(pub Vec<MissingTopic>);

/// A topic that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTopic {
    /// Its name.
    pub topic: Arc<str>,
    /// What it is needed for: "the topology consumes", "the topology writes", ….
    pub needed_by: &'static str,
}

impl fmt::Display for MissingTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [MissingTopic { topic, needed_by }] = &self.0[..] {
            return write!(f, "the topic {topic} does not exist; {needed_by} it. Create it first");
        }
        write!(f, "{} topics do not exist. Create them first:", self.0.len())?;
        self.0.iter().try_for_each(|MissingTopic { topic, needed_by }| {
            write!(f, "\n- {topic} does not exist; {needed_by} it")
        })
    }
}

impl AppError {
    /// The name of the corrupt store, if that is the cause.
    pub(crate) fn corrupt_store(&self) -> Option<&str> {
        match self {
            Self::Store(StoreError::Corrupt { task, .. })
            | Self::Task(TaskError::Store { error: StoreError::Corrupt { task, .. }, .. }) => {
                Some(task)
            }
            _ => None,
        }
    }
}
