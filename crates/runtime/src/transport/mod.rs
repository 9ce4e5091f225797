//! The interface to the log: everything the runtime asks of Kafka, of the embedded log, or of a
//! simulation.
//!
//! All calls are synchronous and bounded in time; none runs user code. In production the runtime
//! calls these traits from several threads; in a simulation from one, in virtual time. The worker's
//! code is the same.
//!
//! * [`Transport`] opens everything else.
//! * [`Member`] is the process's membership of the consumer group: the control plane. One thread
//!   polls it, and never runs user code, a restore or a commit.
//! * [`Fetcher`] is the data plane: one for each worker thread, with the partitions of its tasks.
//! * [`Producer`] is transactional or idempotent: one for each worker thread.
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
    /// Opens an administrative client. The broker need not be reachable yet.
    fn admin(&self) -> Result<Box<dyn Admin>>;

    /// Joins a consumer group.
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>>;

    /// Opens a producer. Only [`Producer::init`] fences others with its transactional id.
    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>>;

    /// Opens a reader of single partitions.
    fn reader(&self, config: &ReaderConfig) -> Result<Box<dyn Reader>>;

    /// How large a record its producers take, whatever a topic takes; `None` if they have no limit
    /// of their own.
    fn record_bytes_max(&self) -> Option<RecordBytesMax> {
        None
    }
}

/// A client's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordBytesMax {
    /// How large a record may be, by [`streams_core::record_bytes`].
    pub bytes: usize,
    /// The setting that sets it.
    pub setting: &'static str,
}

/// What a [`Member`] needs to know.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// The consumer group: the application id.
    pub group_id: Arc<str>,
    /// If set, the member is static: after a crash it gets its partitions back at once. A graceful
    /// [`Member::leave`] gives them to other members at once nevertheless.
    pub instance_id: Option<Arc<str>>,
    /// Topics whose partitions the group assigns (the lead topics).
    pub topics: Vec<Arc<str>>,
    /// How long a silent member keeps its partitions.
    pub session_timeout: Duration,
    /// How often the member sends the group a heartbeat.
    pub heartbeat_interval: Duration,
    /// Read only what was committed, and fetch only stable offsets. Always true under exactly-once.
    pub read_committed: bool,
    /// Bound of the fetched and not yet processed bytes of the process.
    pub fetch_bytes_max: usize,
}

/// What a [`Producer`] needs to know.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// If set, the producer is transactional. Unique for each process and thread, and stable across
    /// restarts of the process.
    pub transactional_id: Option<Arc<str>>,
    /// After how long the log aborts a transaction that is left open.
    pub transaction_timeout: Duration,
    /// Bound of the bytes that may be sent and not acknowledged.
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
    /// A configuration with a bound of 16 MiB.
    pub fn new(read_committed: bool) -> Self {
        Self { read_committed, fetch_bytes_max: 16 << 20 }
    }
}

/// What happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// These partitions of subscribed topics, perhaps none, are assigned to this member, in
    /// addition to those it has. The answer is [`Member::assign`], promptly. Until then
    /// [`Group::metadata`] gives the member id that they are assigned to, or an error if they are
    /// lost again already.
    ///
    /// A client that the group has removed may join again under another member id without a
    /// [`Lost`](Self::Lost). Then this assigns to the new member what the first one had. Another
    /// member may have had it in between.
    Assigned(Vec<TopicPartition>),
    /// The group wants these back. The answer is [`Member::unassign`], once nothing in the process
    /// touches them; until then they still belong to this member.
    Revoked(Vec<TopicPartition>),
    /// These are gone already, and another member may have them: nothing of theirs may be
    /// committed. The answer is [`Member::unassign`], too.
    Lost(Vec<TopicPartition>),
}

/// An offset that a group has committed, or none.
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
    /// often, or the group removes the member.
    fn poll(&mut self, timeout: Duration) -> Result<Vec<MemberEvent>>;

    /// Assigns partitions to the client, paused: those of an [`Assigned`](MemberEvent::Assigned)
    /// event and those that follow them. Their topics need not be subscribed to.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Unassigns partitions, which completes a [`Revoked`](MemberEvent::Revoked) or
    /// [`Lost`](MemberEvent::Lost) event.
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// A data plane for one worker.
    fn fetcher(&self) -> Result<Box<dyn Fetcher>>;

    /// A handle to the group for other threads.
    fn group(&self) -> Arc<dyn Group>;

    /// Leaves the group, so that other members get the partitions at once. Returns after `timeout`
    /// at the latest. [`Member::poll`] must still be called until the revocation is complete.
    fn leave(&mut self, timeout: Duration) -> Result<()>;
}

/// The group as seen from other threads than the member's.
pub trait Group: Send + Sync {
    /// This member's identity at this moment. An error of kind [`ErrorKind::Fenced`] if it has
    /// none: the group would not fence a commit without a generation.
    fn metadata(&self) -> Result<GroupMetadata>;

    /// The group's committed offsets, in the order of `partitions`. With `read_committed`, only
    /// stable ones: while an open transaction holds offsets of these partitions, this waits up to
    /// `timeout`, and then fails with [`ErrorKind::Retriable`].
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
    /// The partition.
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
    /// Starts fetching `partition` at exactly `offset`, or at the beginning with `None`. Also moves
    /// a partition that was added before: what was fetched of it earlier is not delivered any more.
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()>;

    /// Stops fetching it.
    fn remove(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Stops delivering it for a while; nothing is lost.
    fn pause(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Resumes delivering it where it was paused.
    fn resume(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Waits at most `timeout` for records. Delivers about `records_max` of them at most, grouped
    /// by partition.
    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>>;

    /// Ends a [`poll`](Self::poll) that waits in another thread, or else the next one.
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;

    /// Whether the log had nothing more of a partition that was added, when it was last asked for
    /// what follows the delivered records. With `read_committed`, that means up to the first open
    /// transaction.
    ///
    /// `false` while that is not known: after [`add`](Self::add) until the log has answered, while
    /// fetched records wait to be delivered, while the leader is away or does not answer. A task
    /// with several inputs may be waiting for this, so an answer that makes it true must end a
    /// waiting [`poll`](Self::poll).
    fn is_at_end(&self, partition: &TopicPartition) -> bool;

    /// How far each added partition was delivered, and where it ended when the log was last asked,
    /// as far as that is known.
    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)>;

    /// Bytes that were fetched and wait to be delivered; 0 if it keeps none.
    fn waiting_bytes(&self) -> usize {
        0
    }
}

/// How far a partition was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// Everything before this offset was delivered, except commit markers and aborted records.
    pub position: i64,
    /// The end of what may be read, as the log last answered: the last stable offset with
    /// `read_committed`, otherwise the high watermark.
    pub end: i64,
}

/// Records of one partition.
pub struct Fetched {
    /// The partition.
    pub partition: TopicPartition,
    /// The records.
    pub batch: Box<dyn RecordBatch>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched({}, {} records)", self.partition, self.batch.len())
    }
}

/// A record to send, borrowed from the sender's buffers.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The partition. With `None`, the key decides as in the Java client
    /// ([`streams_core::partition_for`]); records without a key are spread.
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
/// The [kind](TransportError::kind) of an error says what to do. After [`ErrorKind::Abortable`] the
/// transaction must be aborted. After [`ErrorKind::Fenced`], [`ErrorKind::Unknown`] (every time-out
/// of a transactional request is one) or [`ErrorKind::Fatal`] the producer must be dropped and a
/// new one opened.
pub trait Producer: Send {
    /// Sets how large a batch a topic takes (`max.message.bytes`), so that records which the topic
    /// takes one by one are not refused together. Called before [`init`](Self::init), or later for
    /// a topic to which nothing was sent yet.
    fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        let _ = (topic, bytes_max);
    }

    /// Fences older producers with the same transactional id and aborts their transactions. Called
    /// once, before anything is sent.
    fn init(&mut self, timeout: Duration) -> Result<()>;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<()>;

    /// Sends a record, whose bytes are copied. Waits while too many bytes are in flight. Delivery
    /// errors may come later, from `flush` or `commit`.
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

    /// Makes [`last_offset`](Self::last_offset) report the offsets of what is sent to `partition`
    /// from now on.
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
    /// The partition's first offset that is still there, and its end: the offset after the last
    /// record, whether committed or not.
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)>;

    /// Starts reading `partition` at `offset`.
    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()>;

    /// Stops reading it.
    fn remove(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Waits at most `timeout`; delivers at most about `records_max` records.
    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>>;

    /// How far `partition` has been read: every record before this offset that this reader may see
    /// was delivered. It also passes commit markers, aborted and compacted records, so it reaches
    /// the end of the partition; with `read_committed`, the first open transaction.
    fn position(&self, partition: &TopicPartition) -> Option<i64>;

    /// Bytes that were fetched and wait to be delivered; 0 if it keeps none.
    fn waiting_bytes(&self) -> usize {
        0
    }
}

/// Describes, creates and trims topics.
pub trait Admin: Send {
    /// Describes `topics`, in their order; `None` for one that does not exist. Must not create it.
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
    /// `retention.ms`; −1 is forever.
    pub retention_ms: i64,
    /// `max.message.bytes`: how large a batch may be on the wire. [`streams_core::record_bytes`] is
    /// the size of a batch with a single record before compression.
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

/// Which timestamp a topic stores with a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, at the moment the record is appended.
    LogAppendTime,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; `None` is the broker's default.
    pub replication: Option<i32>,
    /// Configuration as Kafka names it, for example `("cleanup.policy", "compact")`.
    pub config: Vec<(String, String)>,
}
