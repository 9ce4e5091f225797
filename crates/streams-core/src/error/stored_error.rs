//! A table's row cannot be read.

use std::sync::Arc;

use crate::codec::CodecError;

/// A table's row cannot be read. No record is to blame, so no error policy applies, and the task
/// stops.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stored {part} of the table {table}, key {key}, cannot be read: {source}. It was written \
     by an earlier version of the program, or with another codec. Let the type read it (a new \
     field needs a serde default), or give the table a new name"
)]
pub struct StoredError {
    /// The table, or the buffer or store of a join or a suppress.
    pub table: Arc<str>,
    /// The part that cannot be read: the key or the value.
    pub part: &'static str,
    /// The key in readable form, cut if it is long. For a window, the window is included.
    pub key: String,
    /// Why.
    #[source]
    pub source: CodecError,
}
