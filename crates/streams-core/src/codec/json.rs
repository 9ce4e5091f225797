//! JSON through serde.

use std::io;

use serde_json::ser::Formatter;

use super::guarded::{Finite, Guarded};
use super::null::{Absent, Present, is_none};
use super::{Codec, CodecError, Format, JsonValue};

/// JSON text. It reads back what it writes, floats bit for bit. Encoding fails for what JSON cannot
/// represent: NaN and infinities, and lists and objects nested more than 127 levels deep.
///
/// `None` is null bytes: a tombstone as a value, no key as a key. Inside a value it is JSON's
/// `null`. The text `null` on its own is read as `None` if the type has no other null. Types other
/// than `Option` refuse null bytes.
///
/// ```
/// use headwater::codec::{Codec, Json};
/// let mut bytes = Vec::new();
/// assert!(!Json.encode(&None::<f64>, &mut bytes)?);
/// let back: Option<f64> = Json.decode(None)?;
/// assert_eq!(back, None);
/// assert!(Json.encode(&f64::NAN, &mut bytes).is_err());
/// # Ok::<(), headwater::codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

const NULL: &[u8] = b"null";

impl<T: JsonValue> Codec<T> for Json {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let start = out.len();
        let mut to = serde_json::Serializer::with_formatter(&mut *out, Compact { left: LEVELS });
        value.serialize(Guarded::new(&mut to, Finite)).map_err(CodecError::new)?;
        let is_null = &out[start..] == NULL;
        // If the value could not be read back from null bytes, it stays text.
        if is_null && is_none(value) && T::deserialize(Absent).is_ok() {
            out.truncate(start);
            return Ok(false);
        }
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let Some(bytes) = bytes else {
            return T::deserialize(Absent).map_err(|_| CodecError::null());
        };
        // If the type has another null, `null` may be a `Some`, as in `Some(None)`.
        if bytes == NULL
            && let Ok(value) = T::deserialize(Present)
        {
            return Ok(value);
        }
        serde_json::from_slice(bytes).map_err(CodecError::new)
    }

    fn format(&self) -> Format {
        Format::named("JSON")
    }
}

/// The nesting of lists and objects that serde_json reads.
const LEVELS: u8 = 127;

/// serde_json's compact form with limited nesting.
struct Compact {
    left: u8,
}

impl Compact {
    #[inline]
    fn enter(&mut self) -> io::Result<()> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(too_deep()),
        }
    }
}

#[cold]
fn too_deep() -> io::Error {
    io::Error::other(format!("the value is nested more than {LEVELS} levels deep"))
}

impl Formatter for Compact {
    #[inline]
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    #[inline]
    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.left += 1;
        writer.write_all(b"]")
    }

    #[inline]
    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    #[inline]
    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.left += 1;
        writer.write_all(b"}")
    }
}
