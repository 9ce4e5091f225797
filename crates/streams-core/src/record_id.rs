//! Which record something is about.

use std::fmt;
use std::sync::Arc;

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
