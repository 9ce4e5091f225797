//! Calls: an `async` function for each record of a stream. Several run at a time, and their results
//! come back in the order of the records.
//!
//! Like an agent, a stream's calls are an independent reader: their committed position is the
//! oldest record whose results are not released. So a call may take as long as it needs, a commit
//! never waits for one, and calls that were in flight in a crash are repeated.

mod in_flight;
mod runner;
mod settings;

use crate::record::Record;
use crate::record_id::RecordId;

pub(crate) use runner::CallsRunner;
pub use settings::Async;

/// A record that a function is called with; see [`Stream::map_async`](crate::Stream::map_async).
#[derive(Clone, Debug, PartialEq)]
pub struct Call<K, V> {
    /// The record.
    pub record: Record<K, V>,
    /// The record's identity: the same in each attempt, even after a crash.
    pub id: RecordId,
    /// The number of this attempt, from 1, since the task received the record.
    pub attempt: u32,
}
