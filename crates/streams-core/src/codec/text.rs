//! Values as text, the way they are printed.

use std::fmt::Display;
use std::io::Write;
use std::str::FromStr;

use super::{Codec, CodecError, Format, present};

/// Text by `Display` and `FromStr`: the number 42 is the two bytes `42`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl<T> Codec<T> for Text
where
    T: Display + FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        write!(out, "{value}").map_err(CodecError::new)?;
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let text = std::str::from_utf8(present(bytes)?).map_err(CodecError::new)?;
        text.parse().map_err(CodecError::new)
    }

    fn format(&self) -> Format {
        Format::named("UTF-8 text")
    }
}
