//! bincode 2, for applications that already have data in it.

use std::marker::PhantomData;

use ::bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guarded::Guarded;
use super::nesting::{Bounded, Bounds, Budget, Exceeded, Levels, explained};
use super::{Codec, CodecError, Format, present};

/// bincode's `standard` format. A decoded value may ask for at most `MAX` bytes (default 1 MiB). It
/// may be nested 256 levels deep; `Some` and newtypes count as levels.
///
/// Without a limit a corrupt length makes bincode allocate until the process is aborted. bincode is
/// no longer maintained (RUSTSEC-2025-0141); for new data prefer JSON or postcard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode<const MAX: usize = 1_048_576>;

impl<const MAX: usize> Bincode<MAX> {
    fn config() -> Configuration<LittleEndian, Varint, Limit<MAX>> {
        standard().with_limit::<MAX>()
    }
}

impl<T: Serialize + DeserializeOwned, const MAX: usize> Codec<T> for Bincode<MAX> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let exceeded = Exceeded::default();
        let shallow = Shallow { value, exceeded: &exceeded };
        ::bincode::serde::encode_into_std_write(shallow, out, Self::config())
            .map_err(|error| explained(error, &exceeded))?;
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let bytes = present(bytes)?;
        let budget = Budget::new(bytes);
        let seed = Bounded { from: PhantomData::<T>, bounds: Bounds::new(&budget) };
        let decoded = ::bincode::serde::seed_decode_from_slice(seed, bytes, Self::config());
        let (value, used) = decoded.map_err(|error| explained(error, &budget.exceeded))?;
        trailing(used, bytes.len())?;
        Ok(value)
    }

    fn format(&self) -> Format {
        Format::named("bincode")
    }
}

/// A value that is not nested too deeply.
struct Shallow<'v, T> {
    value: &'v T,
    exceeded: &'v Exceeded,
}

impl<T: Serialize> Serialize for Shallow<'_, T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Guarded::new(to, Levels::all(self.exceeded)))
    }
}

/// Refuses bytes after the value. bincode ignores them, but they mean that the reader's type is not
/// the writer's.
fn trailing(used: usize, length: usize) -> Result<(), CodecError> {
    if used == length {
        return Ok(());
    }
    Err(CodecError::new(format!("{} bytes are left over after the value", length - used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrupt_length_is_an_error_and_not_an_abort() {
        let corrupt = [253, 255, 255, 255, 255, 255, 255, 255, 255];
        let decoded: Result<Vec<u64>, _> = Bincode::<1024>.decode(Some(&corrupt));
        assert!(decoded.is_err());
    }

    #[test]
    fn bytes_after_the_value_are_an_error() {
        let mut bytes = Vec::new();
        Bincode::<1024>.encode(&7_u32, &mut bytes).expect("encodes");
        bytes.push(0);
        let decoded: Result<u32, _> = Bincode::<1024>.decode(Some(&bytes));
        assert!(decoded.unwrap_err().to_string().contains("1 bytes are left over"));
    }
}
