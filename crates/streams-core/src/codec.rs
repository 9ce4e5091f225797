//! Codecs: how a type becomes the bytes of a key or a value, and back.

use std::error::Error;

/// How values of `T` are written to and read from a topic or a table.
///
/// Kafka knows "no bytes" (null: no key, or a tombstone) beside "zero bytes"; both directions carry the difference.
pub trait Codec<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out` and returns `true`, or writes nothing and returns `false` for null.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError>;

    /// Reads a value; `None` is null, which most codecs refuse with [`CodecError::null`].
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError>;
}

/// A value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(Box<dyn Error + Send + Sync>);

impl CodecError {
    /// An error with a cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }

    /// Null where this type has no null; `Option<T>` accepts it.
    pub fn null() -> Self {
        Self::new("null, where a value is needed (Option<…> accepts null)")
    }
}
