//! A change of a row in a repartition topic. It has both sides, so that a row that stays in its
//! group travels as one record.

use std::sync::Arc;

use super::{Codec, CodecError, present};
use crate::change::Change;

const OLD: u8 = 0;
const NEW: u8 = 1;
const BOTH: u8 = 2;
const NONE: u8 = 3;

/// The value, then a byte that says which it is: 0 the old value, 1 the new value, 2 both, 3
/// neither. With both, the new value comes first, with its length in four big-endian bytes in
/// front.
pub(crate) struct Changed<V>(pub(crate) Arc<dyn Codec<V>>);

impl<V: 'static> Changed<V> {
    /// Writes the two sides, already encoded.
    pub(crate) fn write(old: Option<&[u8]>, new: Option<&[u8]>, out: &mut Vec<u8>) {
        match (old, new) {
            (None, None) => out.push(NONE),
            (Some(old), None) => {
                out.extend_from_slice(old);
                out.push(OLD);
            }
            (None, Some(new)) => {
                out.extend_from_slice(new);
                out.push(NEW);
            }
            (Some(old), Some(new)) => {
                // A record is far smaller than four gigabytes: the broker refuses larger ones.
                out.extend_from_slice(&(new.len() as u32).to_be_bytes());
                out.extend_from_slice(new);
                out.extend_from_slice(old);
                out.push(BOTH);
            }
        }
    }

    fn side(&self, bytes: &[u8]) -> Result<Option<V>, CodecError> {
        self.0.decode(Some(bytes)).map(Some)
    }
}

impl<V: 'static> Codec<Change<V>> for Changed<V> {
    fn encode(&self, change: &Change<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let side = |value: &Option<V>| {
            let mut bytes = Vec::new();
            let is_there = match value {
                Some(value) => self.0.encode(value, &mut bytes)?,
                None => false,
            };
            Ok::<_, CodecError>(is_there.then_some(bytes))
        };
        let old = side(&change.old)?;
        let new = side(&change.new)?;
        Self::write(old.as_deref(), new.as_deref(), out);
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Change<V>, CodecError> {
        let broken = || CodecError::new("the bytes are not a change of a row");
        let (kind, bytes) = present(bytes)?.split_last().ok_or_else(broken)?;
        match *kind {
            OLD => Ok(Change { old: self.side(bytes)?, new: None }),
            NEW => Ok(Change { old: None, new: self.side(bytes)? }),
            NONE => Ok(Change { old: None, new: None }),
            BOTH => {
                let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
                let sides = rest.split_at_checked(u32::from_be_bytes(*length) as usize);
                let (new, old) = sides.ok_or_else(broken)?;
                Ok(Change { old: self.side(old)?, new: self.side(new)? })
            }
            _ => Err(broken()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Natural;

    #[test]
    fn both_sides_come_back() {
        let codec = Changed(String::codec());
        for (old, new) in
            [(Some("a"), None), (None, Some("")), (Some(""), Some("bc")), (None, None)]
        {
            let change = Change { old: old.map(str::to_owned), new: new.map(str::to_owned) };
            let mut bytes = Vec::new();
            assert!(codec.encode(&change, &mut bytes).unwrap());
            assert_eq!(codec.decode(Some(&bytes)).unwrap(), change);
        }
        for broken in [&b""[..], b"\x07", b"\0\0\0\x09ab\x02"] {
            assert!(codec.decode(Some(broken)).is_err());
        }
    }
}
