//! The protocol's numbers, strings and arrays, in both of its encodings: lengths of fixed size, and
//! since each request's "flexible" version compact lengths with tagged fields.

/// Writes the body of a request.
#[derive(Default)]
pub(crate) struct RequestWriter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: i16,
    pub(crate) is_flexible: bool,
}

impl RequestWriter {
    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    fn unsigned_varint(&mut self, value: u32) {
        unsigned_varint(&mut self.bytes, value.into());
    }

    /// The length of an array whose elements follow.
    pub(crate) fn array(&mut self, length: usize) {
        if self.is_flexible {
            self.unsigned_varint(length as u32 + 1);
        } else {
            self.i32(length as i32);
        }
    }

    pub(crate) fn string(&mut self, text: &str) {
        if self.is_flexible {
            self.bytes(text.as_bytes());
        } else {
            self.i16(text.len() as i16);
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.is_flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.is_flexible {
            self.unsigned_varint(bytes.len() as u32 + 1);
        } else {
            self.i32(bytes.len() as i32);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The end of a structure: no tagged fields.
    pub(crate) fn no_tags(&mut self) {
        if self.is_flexible {
            self.bytes.push(0);
        }
    }
}

pub(crate) fn unsigned_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A response that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's response cannot be understood")]
pub(crate) struct Malformed;

pub(crate) type Read<T> = Result<T, Malformed>;

/// Reads a response.
pub(crate) struct ResponseReader<'a> {
    rest: &'a [u8],
    pub(crate) version: i16,
    pub(crate) is_flexible: bool,
    /// For how long the broker will take no other request, by a quota.
    pub(crate) throttle_ms: i32,
}

impl<'a> ResponseReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], version: i16, is_flexible: bool) -> Self {
        Self { rest: bytes, version, is_flexible, throttle_ms: 0 }
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn i8(&mut self) -> Read<i8> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn i16(&mut self) -> Read<i16> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn i32(&mut self) -> Read<i32> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// `throttle_time_ms`, which most responses have.
    pub(crate) fn throttle(&mut self) -> Read<()> {
        self.throttle_ms = self.i32()?;
        Ok(())
    }

    fn unsigned_varint(&mut self) -> Read<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// The elements of an array, each read by `element`; a null array has none.
    pub(crate) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let length = if self.is_flexible {
            self.unsigned_varint()?.saturating_sub(1)
        } else {
            u32::try_from(self.i32()?).unwrap_or(0)
        };
        // The length is only the broker's word: nothing is reserved for it.
        (0..length).map(|_| element(self)).collect()
    }

    pub(crate) fn nullable_bytes(&mut self) -> Read<Option<&'a [u8]>> {
        if self.is_flexible {
            self.compact_bytes()
        } else {
            let length = self.i32()?;
            self.bytes_of(length.into())
        }
    }

    pub(crate) fn nullable_string(&mut self) -> Read<Option<&'a str>> {
        let bytes = if self.is_flexible {
            self.compact_bytes()?
        } else {
            let length = self.i16()?;
            self.bytes_of(length.into())?
        };
        bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed)).transpose()
    }

    pub(crate) fn string(&mut self) -> Read<&'a str> {
        self.nullable_string()?.ok_or(Malformed)
    }

    fn compact_bytes(&mut self) -> Read<Option<&'a [u8]>> {
        match self.unsigned_varint()? {
            0 => Ok(None),
            length => self.take(length as usize - 1).map(Some),
        }
    }

    /// −1 is null.
    fn bytes_of(&mut self, length: i64) -> Read<Option<&'a [u8]>> {
        match length {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                self.take(length).map(Some)
            }
        }
    }

    /// Skips the tagged fields at the end of a structure.
    pub(crate) fn tags(&mut self) -> Read<()> {
        self.each_tag(|_, _| Ok(()))
    }

    /// Hands each tagged field at the end of a structure to `visit`, with its number.
    pub(crate) fn each_tag(
        &mut self,
        mut visit: impl FnMut(u32, &mut Self) -> Read<()>,
    ) -> Read<()> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let number = self.unsigned_varint()?;
            let length = self.unsigned_varint()?;
            let field = self.take(length as usize)?;
            visit(number, &mut Self::new(field, self.version, true))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> ResponseReader<'_> {
        ResponseReader::new(bytes, 0, true)
    }

    #[test]
    fn what_is_written_is_read_in_both_encodings() {
        for is_flexible in [false, true] {
            let mut output = RequestWriter { is_flexible, ..RequestWriter::default() };
            output.i8(-1);
            output.i16(-2);
            output.i32(-3);
            output.i64(i64::MIN);
            output.bool(true);
            output.array(2);
            output.string("a");
            output.string("");
            output.nullable_string(None);
            output.bytes(b"bytes");
            output.no_tags();
            let mut input = ResponseReader::new(&output.bytes, 0, is_flexible);
            assert_eq!((input.i8(), input.i16(), input.i32()), (Ok(-1), Ok(-2), Ok(-3)));
            assert_eq!((input.i64(), input.i8()), (Ok(i64::MIN), Ok(1)));
            assert_eq!(input.array(ResponseReader::string), Ok(vec!["a", ""]));
            assert_eq!(input.nullable_string(), Ok(None));
            assert_eq!(input.nullable_bytes(), Ok(Some(&b"bytes"[..])));
            assert_eq!(input.tags(), Ok(()));
            assert_eq!(input.i8(), Err(Malformed), "nothing is left");
        }
    }

    #[test]
    fn varints_of_every_length_are_read() {
        let mut output = RequestWriter::default();
        let values = [0, 127, 128, 300, u32::MAX];
        values.iter().for_each(|value| output.unsigned_varint(*value));
        let mut input = reader(&output.bytes);
        for value in values {
            assert_eq!(input.unsigned_varint(), Ok(value));
        }
    }

    #[test]
    fn tagged_fields_are_skipped_by_their_lengths() {
        let mut input = reader(&[2, 0, 2, 7, 7, 9, 1, 5, 3]);
        let mut seen = Vec::new();
        let visited = input.each_tag(|number, field| {
            seen.push((number, field.i8()?));
            Ok(())
        });
        assert_eq!(visited, Ok(()));
        assert_eq!((seen, input.i8()), (vec![(0, 7), (9, 5)], Ok(3)));
    }

    #[test]
    fn lengths_beyond_the_end_are_errors_and_reserve_nothing() {
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).string(), Err(Malformed));
        assert_eq!(reader(&[0xff; 9]).unsigned_varint(), Err(Malformed));
        let huge = reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).array(ResponseReader::i64);
        assert_eq!(huge, Err(Malformed));
        assert_eq!(reader(&[3, 0xff, 0xfe]).string(), Err(Malformed), "no UTF-8");
        let old = |bytes| ResponseReader::new(bytes, 0, false);
        assert_eq!(old(&[0x7f, 0xff, b'a']).string(), Err(Malformed));
        assert_eq!(old(&[0xff, 0xfe, b'a']).nullable_string(), Err(Malformed), "−2 is no length");
        let huge = old(&[0x7f, 0xff, 0xff, 0xff, 1]).array(ResponseReader::i64);
        assert_eq!(huge, Err(Malformed));
    }
}
