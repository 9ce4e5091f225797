//! Agents: `async` functions over the records of one partition.
//!
//! An agent runs once per task. The task itself polls it, with one record at a time; asking for the
//! next record acknowledges the one before. Table access and sends are synchronous, on the task's
//! own tables and effects, so an agent's effects are committed like an operator's: exactly once,
//! with its record.
//!
//! Two traps. Local variables do not survive a rebalance or a rewind: state belongs into a table.
//! And effects other than sends and tables (a call to a web service) happen at least once: after a
//! rewind the record comes again.

mod builder;
mod context;
mod records;
mod running;

use std::sync::Arc;

use crate::record::{RawRecord, Timestamp};

pub use builder::{AgentBuilder, AgentResult};
pub use context::{AgentError, Context, TableAccess};
pub use records::Records;

pub(crate) use running::{Poll, Running, panic_text};

/// Starts an agent's future, once per task.
pub(crate) trait AgentRunner: Send + Sync {
    fn name(&self) -> &Arc<str>;

    fn start(&self) -> Box<dyn Running>;

    /// The time that its extractor finds in the record.
    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp>;

    /// Whether it has an extractor.
    fn extracts_times(&self) -> bool;
}
