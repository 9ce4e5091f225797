//! JSON through serde.

use super::{Codec, CodecError, Format, JsonValue, present};

/// JSON text. Null bytes are refused; JSON's own `null` is a value like others.
///
/// `Option<T>` behind [`Nullable`](super::Nullable)`(Json)` maps `None` to null bytes, a tombstone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: JsonValue> Codec<T> for Json {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        serde_json::to_writer(out, value).map_err(CodecError::new)?;
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        serde_json::from_slice(present(bytes)?).map_err(CodecError::new)
    }

    fn format(&self) -> Format {
        Format::named("JSON")
    }
}
