//! The identity of a record.

use std::fmt;
use std::sync::Arc;

/// The identity of a record. It is the same in every attempt, so it can be an idempotency key.
///
/// As text it is `topic-partition-offset`, followed by `-index` if operators made several records
/// of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The topic that the record was read from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The index, from 0, among the records that operators made of the record.
    pub index: u32,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, index } = self;
        write!(f, "{topic}-{partition}-{offset}")?;
        if *index > 0 { write!(f, "-{index}") } else { Ok(()) }
    }
}
