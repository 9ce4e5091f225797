//! The seam to the log: everything the runtime asks of Kafka, of the embedded log, or of a
//! simulation.
//!
//! All calls are synchronous and bounded in time; none runs user code. The runtime drives these
//! traits from threads in production and from one thread, in virtual time, in a simulation: the
//! worker code is the same.
//!
//! * [`Transport`] opens everything else.
//! * [`Member`] is the process's membership of the consumer group: the control plane. One thread
//!   polls it, and that thread never runs user code, restore or a commit.
//! * [`Fetcher`] is the data plane: one for each worker thread, with the partitions of its tasks.
//! * [`Producer`] is a transactional (or idempotent) producer: one for each worker thread.
//! * [`Reader`] reads changelogs, outside the group.
//! * [`Admin`] describes and creates topics.

mod error;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{Headers, RecordBatch, Timestamp, TopicPartition};

pub use error::{ErrorKind, TransportError};

/// Short for what every call here returns.
pub type Result<T> = std::result::Result<T, TransportError>;

/// A log with partitions, consumer groups and transactions.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Opens an administrative client. Does not need the broker to be there yet.
    fn admin(&self) -> Result<Box<dyn Admin>>;

    /// Joins a consumer group.
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>>;

    /// Opens a producer. Its transactional id, if any, is fenced only by [`Producer::init`].
    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>>;

    /// Opens a reader of single partitions.
    fn reader(&self, config: &ReaderConfig) -> Result<Box<dyn Reader>>;

    /// How large a record its producers take, whatever a topic takes; `None` if that is all the
    /// same to them.
    fn record_bytes_max(&self) -> Option<RecordBytesMax> {
        None
    }
}

/// A client's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBytesMax {
    /// How large a record may be, by [`streams_core::record_bytes`].
    pub bytes: usize,
    /// The setting that says so.
    pub setting: &'static str,
}

/// What a [`Member`] needs to know.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// The consumer group: the application id.
    pub group_id: Arc<str>,
    /// Set: a static member, which after a crash takes its old place at once. A graceful
    /// [`Member::leave`] gives the partitions away at once all the same.
    pub instance_id: Option<Arc<str>>,
    /// Topics whose partitions the group shares out (the lead topics).
    pub topics: Vec<Arc<str>>,
    /// How long a silent member keeps its partitions.
    pub session_timeout: Duration,
    /// How often the member shows that it lives.
    pub heartbeat_interval: Duration,
    /// Read only what was committed (and fetch only stable offsets). Always true under
    /// exactly-once.
    pub read_committed: bool,
    /// Bound of the fetched and not yet processed bytes of the process.
    pub fetch_bytes_max: usize,
}

/// What a [`Producer`] needs to know.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Set: transactional. Unique for each process and thread, and stable across restarts of the
    /// process.
    pub transactional_id: Option<Arc<str>>,
    /// After how long the log aborts a transaction that is left open.
    pub transaction_timeout: Duration,
    /// Changelog partitions whose acknowledged offsets [`Producer::last_offset`] must report are
    /// announced with [`Producer::track`]; this bounds the bytes that may be in flight.
    pub buffer_bytes_max: usize,
}

/// What a [`Reader`] needs to know.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// Deliver only committed records.
    pub read_committed: bool,
    /// Bound of the fetched and not yet delivered bytes.
    pub fetch_bytes_max: usize,
}

impl ReaderConfig {
    /// One with a bound of 16 MiB.
    pub fn new(read_committed: bool) -> Self {
        Self { read_committed, fetch_bytes_max: 16 << 20 }
    }
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// These partitions of subscribed topics, perhaps none, are now this member's, beside those it
    /// has. Answered with [`Member::assign`], promptly; until then [`Group::metadata`] says under
    /// which name they are, or that they are lost again already.
    ///
    /// A client that was thrown out may join again under another name without a
    /// [`Lost`](Self::Lost): then this says that the member of the new name has what the first one
    /// had. Somebody else may have had it in between.
    Assigned(Vec<TopicPartition>),
    /// These are to be given up. Answered with [`Member::unassign`] once nobody in the process
    /// touches them; until then they are still this member's.
    Revoked(Vec<TopicPartition>),
    /// These are gone already, somebody else may have them: nothing of theirs may be committed.
    /// Answered with [`Member::unassign`] too.
    Lost(Vec<TopicPartition>),
}

/// Where a partition is to be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read; `None` if the group never committed one.
    pub offset: Option<i64>,
    /// The text committed with it, empty if none.
    pub metadata: String,
}

/// A process's membership of a consumer group.
pub trait Member: Send {
    /// Serves the group; returns what happened within `timeout`, perhaps nothing. Must be called
    /// often.
    fn poll(&mut self, timeout: Duration) -> Result<Vec<MemberEvent>>;

    /// Takes partitions to fetch from, paused: those of an [`Assigned`](MemberEvent::Assigned)
    /// event and those that follow them. Partitions of topics that are not subscribed are
    /// allowed.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Gives up partitions, which completes a [`Revoked`](MemberEvent::Revoked) or
    /// [`Lost`](MemberEvent::Lost) event.
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// A data plane for one worker.
    fn fetcher(&self) -> Result<Box<dyn Fetcher>>;

    /// A handle to the group for other threads.
    fn group(&self) -> Arc<dyn Group>;

    /// Leaves the group so that the others get the partitions at once. [`Member::poll`] may still
    /// have to be called for the revocation to complete; returns at the latest after `timeout`.
    fn leave(&mut self, timeout: Duration) -> Result<()>;
}

/// The group as seen from other threads than the member's.
pub trait Group: Send + Sync {
    /// Who this member is, at this moment. An error of kind [`ErrorKind::Fenced`] if it is nobody
    /// at the moment: a commit without a generation would not be fenced by the group.
    fn metadata(&self) -> Result<GroupMetadata>;

    /// The group's committed offsets. With `read_committed`, only stable ones: waits, up to
    /// `timeout`, while an open transaction holds offsets of these partitions; then
    /// [`ErrorKind::Retriable`].
    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>>;

    /// Commits offsets outside any transaction (at-least-once).
    fn commit(&self, offsets: &[OffsetCommit], timeout: Duration) -> Result<()>;
}

/// A member's identity: what fences its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation; never negative.
    pub generation: i32,
    /// The member; never empty.
    pub member_id: Arc<str>,
    /// The static instance id, if any.
    pub instance_id: Option<Arc<str>>,
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: i64,
    /// Text to keep with it; at most 4,096 bytes.
    pub metadata: String,
}

/// The data plane of one worker: fetches from the partitions that were added.
///
/// A partition must have been [assigned](Member::assign) before it is added, and is removed before
/// it is [unassigned](Member::unassign).
pub trait Fetcher: Send {
    /// Starts fetching `partition` at exactly `offset`; `None`: at the beginning. Also moves one
    /// that was added before (rewind): nothing fetched earlier from it is delivered afterwards.
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()>;

    /// Stops fetching it.
    fn remove(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Stops delivering it for a while; nothing is lost.
    fn pause(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Goes on delivering it where it was paused.
    fn resume(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Waits at most `timeout` for records and delivers at most about `records_max` of them,
    /// grouped by partition.
    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>>;

    /// Ends a [`poll`](Self::poll) that is waiting in another thread (or the next one).
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;

    /// Whether the log had nothing more of a partition that was added, as far as this fetcher may
    /// read it (with `read_committed`: up to the first open transaction), when it was last asked
    /// about what follows the records that were delivered.
    ///
    /// `false` while that is not known: after [`add`](Self::add) until the log has answered, while
    /// fetched records wait to be delivered, while the leader is away or does not answer. A task
    /// with several inputs waits meanwhile, so an answer that makes it true must end a
    /// [`poll`](Self::poll) that is waiting.
    fn is_at_end(&self, partition: &TopicPartition) -> bool;

    /// Of each partition that was added, as far as it is known: how far it was delivered, and where
    /// it ended when the log last said so.
    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)>;

    /// Bytes that were fetched and wait to be delivered; 0 if it keeps none.
    fn waiting_bytes(&self) -> usize {
        0
    }
}

/// How far a partition was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// Everything below was delivered; commit markers and aborted records are passed over.
    pub position: i64,
    /// The end of what may be read, as the log last said: the last stable offset with
    /// `read_committed`, otherwise the high watermark.
    pub end: i64,
}

/// Records of one partition.
pub struct Fetched {
    /// Where they are from.
    pub partition: TopicPartition,
    /// The records.
    pub batch: Box<dyn RecordBatch>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched({}, {} records)", self.partition, self.batch.len())
    }
}

/// A record to send, borrowed from the buffers of whoever sends it.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// To which topic.
    pub topic: &'a Arc<str>,
    /// To which partition; `None`: by the key as the Java client does
    /// ([`streams_core::partition_for`]), and without a key, spread.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp, not negative.
    pub timestamp: Timestamp,
    /// The headers; `None` for none.
    pub headers: Option<&'a Headers>,
}

/// A producer.
///
/// Under exactly-once the order is `init`, then for each transaction `begin`, any number of `send`,
/// `send_offsets`, `commit` or `abort`. Without a transactional id: `send`, `flush`.
///
/// What an error means is its [kind](TransportError::kind): after [`ErrorKind::Abortable`] the
/// transaction must be aborted; after [`ErrorKind::Fenced`], [`ErrorKind::Unknown`] (which includes
/// every time-out of a transactional request) or [`ErrorKind::Fatal`] the producer must be dropped
/// and a new one made.
pub trait Producer: Send {
    /// Says how large a batch a topic takes (`max.message.bytes`), so that records which the topic
    /// takes one by one are not refused together. Before [`init`](Self::init), or later for a topic
    /// to which nothing was sent yet.
    fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        let _ = (topic, bytes_max);
    }

    /// Fences older producers with the same transactional id and ends their transactions. Once,
    /// before anything is sent.
    fn init(&mut self, timeout: Duration) -> Result<()>;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<()>;

    /// Hands over a record; bytes are copied. Waits while too much is in flight. Delivery errors
    /// may come later, from `flush` or `commit`.
    fn send(&mut self, record: &Outgoing<'_>) -> Result<()>;

    /// Waits until everything sent is acknowledged.
    fn flush(&mut self, timeout: Duration) -> Result<()>;

    /// Adds offsets to the transaction, fenced by the group's generation.
    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()>;

    /// Flushes and commits.
    fn commit(&mut self, timeout: Duration) -> Result<()>;

    /// Drops what is in flight and aborts.
    fn abort(&mut self, timeout: Duration) -> Result<()>;

    /// Asks for the offsets of what is sent to `partition`, for [`last_offset`](Self::last_offset).
    fn track(&mut self, partition: &TopicPartition);

    /// The offset of the last acknowledged record that this producer sent to a
    /// [tracked](Self::track) partition.
    fn last_offset(&self, partition: &TopicPartition) -> Option<i64>;

    /// Bytes that were sent and are not acknowledged; 0 if it keeps none.
    fn in_flight_bytes(&self) -> usize {
        0
    }
}

/// Reads single partitions from given offsets, outside any group: for restoring tables.
pub trait Reader: Send {
    /// The partition's beginning (the first offset still there) and end: the offset after the last
    /// record written, whether committed or not.
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)>;

    /// Starts reading `partition` at `offset`.
    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()>;

    /// Stops reading it.
    fn remove(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Waits at most `timeout`; delivers at most about `records_max` records.
    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>>;

    /// How far `partition` has been read: every record that this reader may see below this offset
    /// was delivered. Commit markers, aborted records and compacted ones are passed over, so at
    /// the end of the partition (with `read_committed`: the end of what no open transaction
    /// holds back) it equals that end.
    fn position(&self, partition: &TopicPartition) -> Option<i64>;

    /// Bytes that were fetched and wait to be delivered; 0 if it keeps none.
    fn waiting_bytes(&self) -> usize {
        0
    }
}

/// Describes, creates and trims topics.
pub trait Admin: Send {
    /// What is known of `topics`; `None` for one that does not exist. Must not create it.
    fn describe(
        &mut self,
        topics: &[Arc<str>],
        timeout: Duration,
    ) -> Result<Vec<Option<TopicInfo>>>;

    /// Creates a topic; one that exists already is an error of kind [`ErrorKind::Exists`].
    fn create(&mut self, topic: &NewTopic, timeout: Duration) -> Result<()>;

    /// Deletes all records below the given offsets.
    fn delete_records(&mut self, before: &[(TopicPartition, i64)], timeout: Duration)
    -> Result<()>;
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: i32,
    /// `cleanup.policy` as Kafka writes it: `delete`, `compact` or `compact,delete`.
    pub cleanup_policy: String,
    /// `retention.ms`; −1 for ever.
    pub retention_ms: i64,
    /// `max.message.bytes`: how large a batch may be as it goes over the wire. Of a batch with a
    /// single record [`streams_core::record_bytes`] says how large it is before compression.
    pub max_message_bytes: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// How far a record's timestamp may lie before the broker's clock
    /// (`message.timestamp.before.max.ms`, on older brokers `message.timestamp.difference.max.ms`);
    /// [`i64::MAX`] for any.
    pub timestamp_before_max_ms: i64,
    /// How far it may lie after the broker's clock (`message.timestamp.after.max.ms`, on older
    /// brokers `message.timestamp.difference.max.ms`); [`i64::MAX`] for any.
    pub timestamp_after_max_ms: i64,
}

impl TopicInfo {
    /// A topic with Kafka's default limits that takes records of any time.
    pub fn new(name: impl Into<Arc<str>>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            cleanup_policy: "delete".to_owned(),
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            max_message_bytes: streams_core::MAX_MESSAGE_BYTES,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
        }
    }
}

/// Whose time a record bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The one that its producer gave it.
    #[default]
    CreateTime,
    /// The broker's at the moment it was written.
    LogAppendTime,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; `None`: the broker's default.
    pub replication: Option<i32>,
    /// Configuration as Kafka names it, for example `("cleanup.policy", "compact")`.
    pub config: Vec<(String, String)>,
}
