//! Errors. Each says where it happened.

mod stored_error;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::CodecError;
use crate::record::{Timestamp, TopicPartition};
use crate::store::StoreError;

pub use stored_error::StoredError;

/// Makes `Debug` write what `Display` does, because `main`, `unwrap` and `expect` print errors by
/// `Debug`, and users read that.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_is_display {
    ($($error:ty),* $(,)?) => {$(
        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    )*};
}

debug_is_display!(RecordError, TaskError, BuildError);

/// An error of user code: anything that a `try_` function or an agent returns.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a record could not be processed. The operator that finds it does not know which record it
/// was.
#[derive(Debug)]
pub struct Failure(Box<FailureKind>);

#[derive(Debug)]
pub(crate) enum FailureKind {
    /// The record failed: its source's error policy decides.
    Record(Cause),
    /// The store failed: the task stops.
    Store(StoreError),
    /// A table's row cannot be read: the task stops.
    Stored(StoredError),
}

impl Failure {
    /// Creates a failure of the record itself; its source's error policy decides.
    pub fn new(cause: Cause) -> Self {
        Self(Box::new(FailureKind::Record(cause)))
    }

    pub(crate) fn kind(self) -> FailureKind {
        *self.0
    }

    /// Whether the task must stop, whatever a policy or user code says.
    pub(crate) fn stops(&self) -> bool {
        !matches!(*self.0, FailureKind::Record(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            FailureKind::Record(cause) => cause.fmt(f),
            FailureKind::Store(error) => error.fmt(f),
            FailureKind::Stored(error) => error.fmt(f),
        }
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<StoredError> for Failure {
    fn from(error: StoredError) -> Self {
        FailureKind::Stored(error).into()
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::new(cause)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(Box::new(FailureKind::Store(error)))
    }
}

/// What was wrong with a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Its key could not be decoded.
    #[error("the key cannot be decoded: {0}")]
    DecodeKey(#[source] CodecError),
    /// Its value could not be decoded.
    #[error("the value cannot be decoded: {0}")]
    DecodeValue(#[source] CodecError),
    /// An output, a table's key or a table's value could not be encoded.
    #[error("a record for {target} cannot be encoded: {source}")]
    Encode {
        /// The topic or table.
        target: Arc<str>,
        /// Why.
        source: CodecError,
    },
    /// A grouping or a table needs a key, and this one is null.
    #[error("the key is null, and {target} needs one")]
    NullKey {
        /// The table or repartition topic.
        target: Arc<str>,
    },
    /// The timestamp is negative.
    #[error("the timestamp {0} is negative; a timestamp extractor could choose another")]
    NegativeTimestamp(Timestamp),
    /// The timestamp is further ahead of the wall clock than the source allows.
    #[error(
        "the timestamp {timestamp} is {ahead_ms} ms ahead of the clock, more than the {max_ms} ms \
         allowed"
    )]
    FutureTimestamp {
        /// The record's timestamp.
        timestamp: Timestamp,
        /// How many milliseconds it is ahead.
        ahead_ms: i64,
        /// How many milliseconds it may be ahead.
        max_ms: i64,
    },
    /// A record for a topic is larger than the topic or the client accepts.
    #[error(
        "a record for {target} with the key {key} has {bytes} bytes, more than the {bytes_max} of \
         {setting}"
    )]
    TooLarge {
        /// The topic.
        target: Arc<str>,
        /// The record's key, or the beginning of it.
        key: String,
        /// Its size by [`record_bytes`](crate::record_bytes).
        bytes: usize,
        /// The largest allowed size.
        bytes_max: usize,
        /// The setting that limits the size.
        setting: &'static str,
    },
    /// A table's entry is larger than its changelog accepts.
    #[error(
        "the entry of the table {table} with the key {key} has {bytes} bytes in its changelog, \
         more than the {bytes_max} of {setting} {changelog}"
    )]
    EntryTooLarge {
        /// The table.
        table: Arc<str>,
        /// Its changelog topic.
        changelog: Arc<str>,
        /// The entry's key, or the beginning of it.
        key: String,
        /// The size of its changelog record by [`record_bytes`](crate::record_bytes).
        bytes: usize,
        /// The largest allowed size.
        bytes_max: usize,
        /// The setting that limits the size.
        setting: &'static str,
    },
    /// A record for a topic has a timestamp that the topic does not accept: a negative one, or one
    /// too far from the clock.
    #[error(
        "a record for {target} has the timestamp {timestamp}, and the topic accepts only \
         {first} to {last} now"
    )]
    RefusedTimestamp {
        /// The topic.
        target: Arc<str>,
        /// The record's timestamp.
        timestamp: Timestamp,
        /// The first timestamp that it accepts.
        first: Timestamp,
        /// The last timestamp that it accepts.
        last: Timestamp,
    },
    /// A record failed, and its dead-letter topic does not accept it either.
    #[error("{cause}; and its dead-letter topic does not accept it: {refused}")]
    NoDeadLetter {
        /// Why the record failed.
        cause: Box<Self>,
        /// Why the dead-letter topic does not accept it.
        refused: Box<Self>,
    },
    /// A record failed whose source [retries it](crate::ErrorPolicy::retry).
    #[error("{cause} (attempt {attempt} of {of}, {})", Next(*again_in))]
    Retried {
        /// What was wrong this time.
        #[source]
        cause: Box<Self>,
        /// The number of attempts so far.
        attempt: u32,
        /// The number of attempts in all.
        of: u32,
        /// The wait before the next attempt; `None` if this was the last one.
        again_in: Option<Duration>,
    },
    /// A record failed and cannot be stored for a retry.
    #[error("{cause}; and it cannot be stored for a retry: {refused}")]
    NoRetry {
        /// Why the record failed.
        #[source]
        cause: Box<Self>,
        /// Why the table of waiting records does not accept it.
        refused: Box<Self>,
    },
    /// Processing a tick failed.
    #[error("on the tick of {stream} at {time}: {cause}")]
    Tick {
        /// The name of the ticks.
        stream: Arc<str>,
        /// When it was due, in milliseconds since the Unix epoch.
        time: Timestamp,
        /// What was wrong.
        #[source]
        cause: Box<Self>,
    },
    /// The buffer of a `suppress` is full, and its policy is to fail.
    #[error("the buffer {table} is full: {records} records, {bytes} bytes")]
    BufferFull {
        /// Its name.
        table: Arc<str>,
        /// How many records it holds.
        records: u64,
        /// How many bytes of keys and values they have.
        bytes: u64,
    },
    /// User code returned an error.
    #[error("{operator}: {source}")]
    User {
        /// The operator or agent.
        operator: Arc<str>,
        /// What it returned.
        source: BoxError,
    },
    /// User code panicked.
    #[error("user code panicked: {0}")]
    Panic(String),
}

/// When the next attempt is, in words.
struct Next(Option<Duration>);

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, "the next one in {wait:?}"),
            None => f.write_str("the last one"),
        }
    }
}

impl Cause {
    /// The name of the variant, as a path that can be imported. For a retried record, it is that of
    /// the last attempt's cause.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DecodeKey(_) => "headwater::Cause::DecodeKey",
            Self::DecodeValue(_) => "headwater::Cause::DecodeValue",
            Self::Encode { .. } => "headwater::Cause::Encode",
            Self::NullKey { .. } => "headwater::Cause::NullKey",
            Self::NegativeTimestamp(_) => "headwater::Cause::NegativeTimestamp",
            Self::FutureTimestamp { .. } => "headwater::Cause::FutureTimestamp",
            Self::TooLarge { .. } => "headwater::Cause::TooLarge",
            Self::EntryTooLarge { .. } => "headwater::Cause::EntryTooLarge",
            Self::RefusedTimestamp { .. } => "headwater::Cause::RefusedTimestamp",
            Self::NoDeadLetter { .. } => "headwater::Cause::NoDeadLetter",
            // The first cause says more.
            Self::Retried { cause, .. } | Self::NoRetry { cause, .. } => cause.name(),
            Self::Tick { .. } => "headwater::Cause::Tick",
            Self::BufferFull { .. } => "headwater::Cause::BufferFull",
            Self::User { .. } => "headwater::Cause::User",
            Self::Panic(_) => "headwater::Cause::Panic",
        }
    }
}

/// A record that could not be processed, with its topic, partition and offset.
pub struct RecordError {
    /// The topic it came from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// What was wrong.
    pub cause: Cause,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, cause } = self;
        write!(f, "record at {topic}-{partition} offset {offset}: {cause}")
    }
}

impl Error for RecordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// Why a task cannot continue.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A record failed, and its source's policy is to fail.
    #[error("task {task}: {error}")]
    Record {
        /// The task.
        task: crate::task_id::TaskId,
        /// The record and what was wrong.
        error: Box<RecordError>,
    },
    /// The store failed.
    #[error("task {task}: {error}")]
    Store {
        /// The task.
        task: crate::task_id::TaskId,
        /// What the store reported.
        error: StoreError,
    },
    /// A table's row cannot be read.
    #[error("task {task}: {error}")]
    Stored {
        /// The task.
        task: crate::task_id::TaskId,
        /// The table, the key and why.
        error: StoredError,
    },
    /// The metadata that was committed with an input's offset is invalid.
    #[error(
        "task {task}: the metadata committed with the offset of {partition} is invalid: {why}. \
         Reset the group's offsets to where it should continue"
    )]
    Progress {
        /// The task.
        task: crate::task_id::TaskId,
        /// The input's partition.
        partition: TopicPartition,
        /// What is wrong.
        why: String,
    },
    /// Something outside of any record failed: a punctuation, an output at the commit, or an agent
    /// that ended.
    #[error("task {task}: {cause}")]
    Other {
        /// The task.
        task: crate::task_id::TaskId,
        /// What it was.
        cause: String,
    },
}

/// A topology that cannot be built, with everything that is wrong with it.
pub struct BuildError {
    pub(crate) problems: Vec<String>,
}

impl BuildError {
    /// What is wrong, one sentence each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [problem] => write!(f, "the topology cannot be built: {problem}"),
            problems => {
                f.write_str("the topology cannot be built:")?;
                problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

impl Error for BuildError {}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
