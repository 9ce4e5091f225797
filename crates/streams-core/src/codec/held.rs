//! A change of a row that waits in a buffer, with its record's headers.

use super::{Changed, Codec, CodecError};
use crate::change::Change;
use crate::record::Headers;

/// The last byte of a change with headers. The bytes of [`Changed`] end with a smaller one.
const WITH_HEADERS: u8 = 4;

/// The bytes of [`Changed`]. If there are headers, they follow, then their length in four
/// big-endian bytes, then a 4. A header is the length of its name, the name, the length of its
/// value or −1 for null, and the value. All numbers have four big-endian bytes.
pub(crate) struct HeldChange<V>(pub(crate) Changed<V>);

impl<V: 'static> HeldChange<V> {
    pub(crate) fn write(
        &self,
        change: &Change<V>,
        headers: &Headers,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        self.0.encode(change, out)?;
        if headers.is_empty() {
            return Ok(());
        }
        let start = out.len();
        for (name, value) in headers.iter() {
            // A record is far smaller than two gigabytes: the broker refuses larger ones.
            out.extend_from_slice(&(name.len() as u32).to_be_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_be_bytes());
            out.extend_from_slice(value.unwrap_or_default());
        }
        let length = (out.len() - start) as u32;
        out.extend_from_slice(&length.to_be_bytes());
        out.push(WITH_HEADERS);
        Ok(())
    }

    pub(crate) fn read(&self, bytes: &[u8]) -> Result<(Change<V>, Headers), CodecError> {
        let (change, headers) = split(bytes).ok_or_else(broken)?;
        let headers = headers_of(headers).ok_or_else(broken)?;
        Ok((self.0.decode(Some(change))?, headers))
    }
}

fn broken() -> CodecError {
    CodecError::new("the bytes are not a change of a row with headers")
}

/// The change and the headers.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some((&WITH_HEADERS, rest)) = bytes.split_last() else { return Some((bytes, &[])) };
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let change = rest.len().checked_sub(u32::from_be_bytes(*length) as usize)?;
    rest.split_at_checked(change)
}

fn headers_of(mut bytes: &[u8]) -> Option<Headers> {
    let mut headers = Headers::new();
    while !bytes.is_empty() {
        let name = take(&mut bytes)??;
        let value = take(&mut bytes)?;
        headers.push(std::str::from_utf8(name).ok()?, value);
    }
    Some(headers)
}

/// Takes a length and that many bytes; `Some(None)` for −1.
fn take<'b>(bytes: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    *bytes = rest;
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Natural;

    #[test]
    fn changes_with_and_without_headers_are_read_back() {
        let codec = HeldChange(Changed(String::codec()));
        let change = Change { old: None, new: Some("row".to_owned()) };
        let mut headers = Headers::new();
        for count in 0..3 {
            let mut bytes = Vec::new();
            codec.write(&change, &headers, &mut bytes).expect("encodes");
            assert_eq!(codec.read(&bytes).expect("decodes"), (change.clone(), headers.clone()));
            for cut in 1..bytes.len() {
                let _ = codec.read(&bytes[cut..]);
            }
            headers.push(["trace", ""][count % 2], [Some(&b"\x04"[..]), None][count % 2]);
        }
        let mut before = Vec::new();
        codec.0.encode(&change, &mut before).expect("encodes");
        assert_eq!(codec.read(&before).expect("decodes"), (change, Headers::new()));
        for broken in [&b"\x04"[..], b"\0\0\0\x09\x04", b"\x01\xff\xff\xff\xff\0\0\0\x04\x04"] {
            assert!(codec.read(broken).is_err(), "{broken:?}");
        }
    }
}
