//! Calls: an `async` function for each record of a stream, several at a time, whose results come
//! back in the order of the records.
//!
//! A stream's calls are a reader of their own, as an agent is: their committed position is the
//! oldest record whose results have not gone on. So a call may take as long as it likes, a commit
//! never waits for one, and what was in flight in a crash is called again.

mod in_flight;
mod intake;
mod runner;
mod settings;

use std::fmt;
use std::sync::Arc;

use crate::record::Record;

pub(crate) use intake::{Collect, Intake};
pub(crate) use runner::CallsRunner;
pub use settings::Async;

/// Which record something is about, the same however often it is tried: for an idempotency key.
///
/// As text it is `topic-partition-offset`, followed by `-index` where operators have made several
/// records of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The topic that the record was read from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Which one of those it is that operators have made of the record, from 0.
    pub index: u32,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, index } = self;
        write!(f, "{topic}-{partition}-{offset}")?;
        if *index > 0 { write!(f, "-{index}") } else { Ok(()) }
    }
}

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
