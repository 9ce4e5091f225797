//! postcard: compact and maintained.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Format, present};

/// The postcard format; the compact choice for internal topics and tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        ::postcard::to_io(value, out).map_err(CodecError::new)?;
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let (value, rest) =
            ::postcard::take_from_bytes(present(bytes)?).map_err(CodecError::new)?;
        if rest.is_empty() {
            return Ok(value);
        }
        // postcard would accept this in silence; it means that the reader's type is not the
        // writer's.
        Err(CodecError::new(format!("{} bytes are left over behind the value", rest.len())))
    }

    fn format(&self) -> Format {
        Format::named("postcard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_bytes_behind_the_value() {
        let mut bytes = Vec::new();
        Postcard.encode(&("a".to_owned(), 7_u32), &mut bytes).expect("encodes");
        let back: (String, u32) = Postcard.decode(Some(&bytes)).expect("decodes");
        assert_eq!(back, ("a".to_owned(), 7));
        bytes.push(0);
        assert!(Codec::<(String, u32)>::decode(&Postcard, Some(&bytes)).is_err());
    }
}
