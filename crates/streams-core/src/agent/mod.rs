//! Agents: `async` functions over the records of one partition.
//!
//! An agent runs once per task. The task polls it when there is a record for it, and when something
//! of its own (a timer, a channel, a socket) wakes it. When the agent waits for the next record, it
//! acknowledges the records before. What it sent and wrote for them is committed with their offset,
//! exactly once. Until then its effects are invisible and block nothing: a commit in the meantime
//! covers the rest of the task, with the agent's position before its record. When the task moves,
//! is rewound or stops, the future is dropped, and the record is delivered again.
//!
//! There are three traps. Local variables do not survive a dropped future. State collected over
//! several records, such as a batch that is flushed every minute, belongs in a table, because its
//! records are already acknowledged. Effects other than sends and tables, such as a call to a web
//! service, happen at least once; [`Context::id`] is the same each time. And [`Records`] and
//! [`Context`] belong to the agent's own future: a task that it spawns gets an error from them.

mod batch_error;
mod concurrent;
mod context;
mod link;
mod reads;
mod records;
mod rows_read;
pub(crate) mod runner;
mod running;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::error::BoxError;
use crate::record::{RawRecord, Timestamp};

pub use batch_error::BatchError;
pub use context::{AgentError, Context, TableAccess};
pub(crate) use context::{Declared, TableUse};
pub use reads::{TableRows, TableWindows};
pub use records::Records;

pub(crate) use link::{RECORDS_PER_POLL, Wakeup};
pub(crate) use running::{Polled, RecordSource, Refused, Running};

/// What an agent returns. The source's error policy decides about an error. Returning without an
/// error is an error too, because an agent must run as long as its task.
pub type AgentResult = Result<(), BoxError>;

/// The task and input for which an agent is started.
#[derive(Clone)]
pub(crate) struct StartedFor {
    pub(crate) input: u32,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Whether the input's error policy lets the task continue after a failed record.
    pub(crate) is_undoable: bool,
    /// The waker to call when something wakes the agent.
    pub(crate) waker: Waker,
}

/// A reader with its own position: an agent, or the calls of a stream. It is started once per task.
pub(crate) trait AgentRunner: Send + Sync {
    fn name(&self) -> &Arc<str>;

    /// Creates a new instance, which is not yet polled.
    fn start(&self, task: &StartedFor) -> Box<dyn Running>;

    /// How long it may take for a record.
    fn limit(&self) -> Option<Duration>;

    /// Whether it has operators downstream. They must not count as idle while it has records.
    fn feeds_operators(&self) -> bool;

    /// Whether it continues with later records after one has failed.
    fn is_concurrent(&self) -> bool;

    /// The time that its timestamp extractor finds in the record.
    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp>;

    /// Whether it has a timestamp extractor.
    fn extracts_times(&self) -> bool;
}
