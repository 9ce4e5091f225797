//! The protocol's numbers, texts and arrays: those of its "flexible" versions.

/// Writes a request.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
}

impl Output {
    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    pub(super) fn unsigned_varint(&mut self, value: u32) {
        unsigned_varint(&mut self.bytes, value.into());
    }

    /// The length of an array whose elements follow.
    pub(super) fn array(&mut self, length: usize) {
        self.unsigned_varint(length as u32 + 1);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    pub(super) fn nullable_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.unsigned_varint(0),
        }
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) {
        self.unsigned_varint(bytes.len() as u32 + 1);
        self.bytes.extend_from_slice(bytes);
    }

    /// Text of the older kind, with a length of two bytes.
    pub(super) fn old_text(&mut self, text: &str) {
        self.i16(text.len() as i16);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The end of a structure: no optional fields.
    pub(super) fn no_tags(&mut self) {
        self.bytes.push(0);
    }
}

pub(super) fn unsigned_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// An answer that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's answer cannot be understood")]
pub(crate) struct Malformed;

pub(super) type Read<T> = Result<T, Malformed>;

/// Reads an answer.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn i8(&mut self) -> Read<i8> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    pub(super) fn unsigned_varint(&mut self) -> Read<u32> {
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

    /// The elements of an array, each read by `element`.
    pub(super) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let length = self.unsigned_varint()?.saturating_sub(1);
        // The length is the broker's word only: nothing is reserved for it.
        (0..length).map(|_| element(self)).collect()
    }

    pub(super) fn binary(&mut self) -> Read<Option<&'a [u8]>> {
        match self.unsigned_varint()? {
            0 => Ok(None),
            length => self.take(length as usize - 1).map(Some),
        }
    }

    pub(super) fn nullable_text(&mut self) -> Read<Option<&'a str>> {
        let bytes = self.binary()?;
        bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed)).transpose()
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        self.nullable_text()?.ok_or(Malformed)
    }

    /// Passes over the optional fields at the end of a structure.
    pub(super) fn tags(&mut self) -> Read<()> {
        self.each_tag(|_, _| Ok(()))
    }

    /// Hands each optional field at the end of a structure to `visit`, with its number.
    pub(super) fn each_tag(
        &mut self,
        mut visit: impl FnMut(u32, &mut Self) -> Read<()>,
    ) -> Read<()> {
        for _ in 0..self.unsigned_varint()? {
            let (number, length) = (self.unsigned_varint()?, self.unsigned_varint()?);
            visit(number, &mut Self::new(self.take(length as usize)?))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut output = Output::default();
        output.i8(-1);
        output.i16(-2);
        output.i32(-3);
        output.i64(i64::MIN);
        output.bool(true);
        for value in [0, 127, 128, 300, u32::MAX] {
            output.unsigned_varint(value);
        }
        output.array(2);
        output.text("a");
        output.text("");
        output.nullable_text(None);
        output.no_tags();
        let mut input = Input::new(&output.bytes);
        assert_eq!((input.i8(), input.i16(), input.i32()), (Ok(-1), Ok(-2), Ok(-3)));
        assert_eq!((input.i64(), input.i8()), (Ok(i64::MIN), Ok(1)));
        for value in [0, 127, 128, 300, u32::MAX] {
            assert_eq!(input.unsigned_varint(), Ok(value));
        }
        assert_eq!(input.array(Input::text), Ok(vec!["a", ""]));
        assert_eq!(input.nullable_text(), Ok(None));
        assert_eq!(input.tags(), Ok(()));
        assert_eq!(input.i8(), Err(Malformed), "nothing is left");
    }

    #[test]
    fn optional_fields_are_passed_over_by_their_lengths() {
        let mut input = Input::new(&[2, 0, 2, 7, 7, 9, 1, 5, 3]);
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
        assert_eq!(Input::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).text(), Err(Malformed));
        assert_eq!(Input::new(&[0xff; 9]).unsigned_varint(), Err(Malformed));
        let huge = Input::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).array(Input::i64);
        assert_eq!(huge, Err(Malformed));
        assert_eq!(Input::new(&[3, 0xff, 0xfe]).text(), Err(Malformed), "no UTF-8");
    }
}
