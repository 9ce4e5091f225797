//! What a table holds cannot be read.

use std::sync::Arc;

use crate::codec::CodecError;

/// What a table holds under a key cannot be read. No record is to blame, so no error policy
/// applies: the task stops.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stored {part} of the table {table}, key {key}, cannot be read: {source}. It was written \
     by an earlier version of the program, or with another codec. Let the type read it (a new \
     field needs a serde default), or keep the table under a new name"
)]
pub struct StoredError {
    /// The table, or the buffer or store of a join or a suppress.
    pub table: Arc<str>,
    /// What cannot be read: its key or its value.
    pub part: &'static str,
    /// The key in readable form, cut where it is long; for windows with the window.
    pub key: String,
    /// Why.
    #[source]
    pub source: CodecError,
}
