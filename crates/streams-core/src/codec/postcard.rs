//! postcard: compact and maintained.

use ::postcard::Deserializer;
use ::postcard::ser_flavors::io::WriteFlavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guarded::Guarded;
use super::nesting::{Bounded, Bounds, Budget, Exceeded, Levels, explained};
use super::{Codec, CodecError, Format, present};

/// The postcard format, which is compact and suits internal topics and tables. A value may be
/// nested 256 levels deep; `Some` and newtypes count as levels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let mut serializer = ::postcard::Serializer { output: WriteFlavor::new(out) };
        let exceeded = Exceeded::default();
        let written = value.serialize(Guarded::new(&mut serializer, Levels::all(&exceeded)));
        written.map_err(|error| explained(error, &exceeded))?;
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let bytes = present(bytes)?;
        let budget = Budget::new(bytes);
        let mut from = Deserializer::from_bytes(bytes);
        let bounded = Bounded { from: &mut from, bounds: Bounds::new(&budget) };
        let read = T::deserialize(bounded);
        let value = read.map_err(|error| explained(error, &budget.exceeded))?;
        let rest = from.finalize().map_err(CodecError::new)?;
        if rest.is_empty() {
            return Ok(value);
        }
        // postcard ignores these bytes, but they mean that the reader's type is not the writer's.
        Err(CodecError::new(format!("{} bytes are left over after the value", rest.len())))
    }

    fn format(&self) -> Format {
        Format::named("postcard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_bytes_after_the_value() {
        let mut bytes = Vec::new();
        Postcard.encode(&("a".to_owned(), 7_u32), &mut bytes).expect("encodes");
        let back: (String, u32) = Postcard.decode(Some(&bytes)).expect("decodes");
        assert_eq!(back, ("a".to_owned(), 7));
        bytes.push(0);
        assert!(Codec::<(String, u32)>::decode(&Postcard, Some(&bytes)).is_err());
    }
}
