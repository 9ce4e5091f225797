//! Agents: `async` functions over the records of one partition.
//!
//! An agent runs once per task, and the task polls it: when there is a record for it, and when
//! something of its own (a timer, a channel, a socket) wakes it. While it waits for the next record
//! it acknowledges those before; what it sent and wrote for them is committed with their offset,
//! exactly once. Until then nobody sees it, and nothing waits for it: a commit in the meantime
//! takes the rest of the task along, with the agent's position before its record. When the task
//! moves, is rewound or stops, the future is dropped, and the record comes again.
//!
//! Three traps. Local variables do not survive that: what is collected over several records, for a
//! flush every minute say, belongs into a table, for its records are acknowledged. Effects other
//! than sends and tables (a call to a web service) happen at least once;
//! [`Context::id`] is the same each time. And [`Records`] and [`Context`] belong to the agent's own
//! future: a task that it spawns gets an error from them.

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

/// What an agent returns: an error is handled by the source's error policy; returning without one
/// is an error too, for an agent lives as long as its task.
pub type AgentResult = Result<(), BoxError>;

/// The task, and its input, that an agent is started for.
#[derive(Clone)]
pub(crate) struct StartedFor {
    pub(crate) input: u32,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Whether the input's error policy lets the task go on after a record that failed.
    pub(crate) is_undoable: bool,
    /// Whom to wake when something wakes the agent.
    pub(crate) waker: Waker,
}

/// A reader of its own: an agent, or the calls of a stream. Started once per task.
pub(crate) trait AgentRunner: Send + Sync {
    fn name(&self) -> &Arc<str>;

    /// A new one, not yet polled.
    fn start(&self, task: &StartedFor) -> Box<dyn Running>;

    /// How long it may take for a record.
    fn limit(&self) -> Option<Duration>;

    /// Whether operators stand behind it, which nothing must take for idle while it has records.
    fn feeds_operators(&self) -> bool;

    /// Whether it goes on with records when one before them has failed.
    fn is_concurrent(&self) -> bool;

    /// The time that its extractor finds in the record.
    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp>;

    /// Whether it has an extractor.
    fn extracts_times(&self) -> bool;
}
