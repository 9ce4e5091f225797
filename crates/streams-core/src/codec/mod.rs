//! Codecs: how a type becomes the bytes of a key or a value, and back.

#[cfg(feature = "bincode")]
mod bincode;
mod bounds;
mod changed;
mod format;
mod guarded;
mod held;
mod json;
mod natural;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod nesting;
mod null;
#[cfg(feature = "postcard")]
mod postcard;
mod text;

use std::error::Error;
use std::sync::Arc;

#[cfg(feature = "bincode")]
pub use self::bincode::Bincode;
#[cfg(feature = "postcard")]
pub use self::postcard::Postcard;
pub use bounds::{JsonValue, NaturalKey};
pub(crate) use changed::Changed;
pub use format::Format;
pub(crate) use held::HeldChange;
pub use json::Json;
pub use natural::{Bytes, Natural, Nullable};
pub use text::Text;

/// How values of `T` are written to and read from a topic or a table.
///
/// Kafka distinguishes "no bytes" (null: no key, or a tombstone) from "zero bytes". Both directions
/// preserve the difference.
///
/// ```
/// use headwater::codec::{Codec, Json};
/// let mut bytes = Vec::new();
/// assert!(Json.encode(&vec![1, 2], &mut bytes).unwrap());
/// assert_eq!(bytes, b"[1,2]");
/// let back: Vec<i32> = Json.decode(Some(&bytes)).unwrap();
/// assert_eq!(back, [1, 2]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec for `{T}`",
    label = "cannot write and read `{T}`",
    note = "`headwater::codec` has `Json` for what implements serde's traits, `Bytes` for strings, \
            bytes and integers, `Text` for what is written as text"
)]
pub trait Codec<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out` and returns `true`. For null it writes nothing and
    /// returns `false`.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError>;

    /// Reads a value. `None` is null, which most codecs refuse with [`CodecError::null`].
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError>;

    /// Returns the name of the format that it writes. With it `build()` finds a topic or table that
    /// is used in two ways, and a start finds a table whose entries would be read differently.
    /// Default: `build()` compares the codec's type, and the start compares nothing.
    fn format(&self) -> Format {
        Format::of_codec::<Self>()
    }
}

/// A shared codec is a codec.
impl<T: 'static> Codec<T> for Arc<dyn Codec<T>> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        (**self).encode(value, out)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        (**self).decode(bytes)
    }

    fn format(&self) -> Format {
        (**self).format()
    }
}

/// A value could not be encoded or decoded.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct CodecError(Box<dyn Error + Send + Sync>);

crate::debug_is_display!(CodecError);

impl CodecError {
    /// Creates an error with a cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }

    /// Creates the error for a null where the type has none; `Option<T>` accepts null.
    pub fn null() -> Self {
        Self::new("null where a value is needed (a type Option<…> would accept it)")
    }
}

/// Returns the bytes of a value that must not be null.
pub(crate) fn present(bytes: Option<&[u8]>) -> Result<&[u8], CodecError> {
    bytes.ok_or_else(CodecError::null)
}
