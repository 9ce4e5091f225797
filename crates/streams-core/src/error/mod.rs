//! Errors, each of which says where it happened.

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

/// Makes `Debug` write what `Display` does. `main` prints the error that it returns by `Debug`, and
/// so do `unwrap` and `expect`: what they print is for people too.
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

/// An error of user code: whatever a `try_` function or an agent returns.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a record could not be processed; found by an operator, which does not know which record it
/// was.
#[derive(Debug)]
pub struct Failure(Box<FailureKind>);

#[derive(Debug)]
pub(crate) enum FailureKind {
    /// Of the record: its source's error policy decides.
    Record(Cause),
    /// Of the store: the task cannot go on.
    Store(StoreError),
    /// Of what a table holds: the task cannot go on.
    Stored(StoredError),
}

impl Failure {
    /// A failure of the record itself, which the source's error policy decides about.
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
        /// How far it is ahead.
        ahead_ms: i64,
        /// How far it may be.
        max_ms: i64,
    },
    /// A record for a topic is larger than the topic or the client takes.
    #[error(
        "a record for {target} with the key {key} has {bytes} bytes, more than the {bytes_max} of \
         {setting}"
    )]
    TooLarge {
        /// The topic.
        target: Arc<str>,
        /// The record's key, or the beginning of it.
        key: String,
        /// How large it is, by [`record_bytes`](crate::record_bytes).
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
        /// Which setting says so.
        setting: &'static str,
    },
    /// A table's entry is larger than its changelog takes.
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
        /// How large its changelog record is, by [`record_bytes`](crate::record_bytes).
        bytes: usize,
        /// How large that may be.
        bytes_max: usize,
        /// Which setting says so.
        setting: &'static str,
    },
    /// A record for a topic has a timestamp that the topic does not take: a negative one, or one
    /// too far from the clock.
    #[error(
        "a record for {target} has the timestamp {timestamp}, and the topic takes those from \
         {first} to {last} now"
    )]
    RefusedTimestamp {
        /// The topic.
        target: Arc<str>,
        /// The record's timestamp.
        timestamp: Timestamp,
        /// The first one that it takes.
        first: Timestamp,
        /// The last one that it takes.
        last: Timestamp,
    },
    /// A record failed, and cannot go to its dead-letter topic either.
    #[error("{cause}; nor can it be a dead letter: {refused}")]
    NoDeadLetter {
        /// What was wrong with it in the first place.
        cause: Box<Self>,
        /// Why the dead-letter topic does not take it.
        refused: Box<Self>,
    },
    /// A record failed whose source [tries it again](crate::ErrorPolicy::retry).
    #[error("{cause} (attempt {attempt} of {of}, {})", Next(*again_in))]
    Retried {
        /// What was wrong this time.
        #[source]
        cause: Box<Self>,
        /// How often it was tried by now.
        attempt: u32,
        /// How often it is tried in all.
        of: u32,
        /// How long it waits for the next attempt; `None`: there is no other.
        again_in: Option<Duration>,
    },
    /// A record failed, and cannot wait to be tried again.
    #[error("{cause}; nor can it wait to be tried again: {refused}")]
    NoRetry {
        /// What was wrong with it in the first place.
        #[source]
        cause: Box<Self>,
        /// Why the table of what waits does not take it.
        refused: Box<Self>,
    },
    /// What was to be done on a tick failed.
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
    /// The buffer of a `suppress` is full, and it was told to fail then.
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

/// When there is another attempt, in words.
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
    /// Which kind of cause it is: its path, as it is imported. Of a record that was tried again it
    /// is that of the last attempt.
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
            // What was wrong in the first place says more.
            Self::Retried { cause, .. } | Self::NoRetry { cause, .. } => cause.name(),
            Self::Tick { .. } => "headwater::Cause::Tick",
            Self::BufferFull { .. } => "headwater::Cause::BufferFull",
            Self::User { .. } => "headwater::Cause::User",
            Self::Panic(_) => "headwater::Cause::Panic",
        }
    }
}

/// A record that could not be processed, with its place.
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

/// A task cannot go on.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A record failed and its source's policy is to fail.
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
        /// What the store said.
        error: StoreError,
    },
    /// What a table holds cannot be read.
    #[error("task {task}: {error}")]
    Stored {
        /// The task.
        task: crate::task_id::TaskId,
        /// The table, the key and why.
        error: StoredError,
    },
    /// What was committed with an input's offset cannot be.
    #[error(
        "task {task}: what was committed for {partition} with its offset cannot be: {why}. Reset \
         the group's offsets to where it is to go on"
    )]
    Progress {
        /// The task.
        task: crate::task_id::TaskId,
        /// The input's partition.
        partition: TopicPartition,
        /// What is wrong.
        why: String,
    },
    /// Something outside any record failed: a punctuation, a per-commit output, an agent that
    /// ended.
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

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
