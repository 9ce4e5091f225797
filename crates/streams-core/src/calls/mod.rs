//! Calls: an `async` function for each record of a stream, several at a time, whose results come
//! back in the order of the records.
//!
//! A stream's calls are a reader of their own, as an agent is: their committed position is the
//! oldest record whose results have not gone on. So a call may take as long as it likes, a commit
//! never waits for one, and what was in flight in a crash is called again.

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
    /// Which one it is: the same in each attempt, also after a crash.
    pub id: RecordId,
    /// Which attempt this is since the task has had the record, from 1.
    pub attempt: u32,
}
