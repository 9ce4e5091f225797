//! What travels between the two sides, in bytes.

use std::sync::Arc;

use super::{Question, Reply, VERSION, Version, Wish};
use crate::codec::{Codec, CodecError, present};

/// Wish (1 byte), version, the asking row's key.
pub(crate) struct QuestionCodec;

impl Question {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(match self.wish {
            Wish::Always => 0,
            Wish::IfThere => 1,
            Wish::Forget => 2,
            Wish::ForgetAndTell => 3,
        });
        out.extend_from_slice(&self.version);
        out.extend_from_slice(&self.key);
    }
}

impl Codec<Question> for QuestionCodec {
    fn encode(&self, question: &Question, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        question.write(out);
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Question, CodecError> {
        let broken = || CodecError::new("the bytes hold no question of a foreign-key join");
        let (wish, rest) = present(bytes)?.split_first().ok_or_else(broken)?;
        let wish = match wish {
            0 => Wish::Always,
            1 => Wish::IfThere,
            2 => Wish::Forget,
            3 => Wish::ForgetAndTell,
            _ => return Err(broken()),
        };
        let (version, key) = rest.split_first_chunk::<VERSION>().ok_or_else(broken)?;
        Ok(Question { key: key.into(), version: *version, wish })
    }
}

/// Version, 1 and the row or 0.
pub(crate) struct ReplyCodec<W>(pub(crate) Arc<dyn Codec<W>>);

impl<W: 'static> ReplyCodec<W> {
    pub(crate) fn write(
        &self,
        version: &Version,
        row: Option<&W>,
        out: &mut Vec<u8>,
    ) -> Result<bool, CodecError> {
        out.extend_from_slice(version);
        let mark = out.len();
        out.push(0);
        if let Some(row) = row {
            out[mark] = u8::from(self.0.encode(row, out)?);
        }
        Ok(true)
    }
}

impl<W: 'static> Codec<Reply<W>> for ReplyCodec<W> {
    fn encode(&self, reply: &Reply<W>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        self.write(&reply.version, reply.row.as_ref(), out)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Reply<W>, CodecError> {
        let broken = || CodecError::new("the bytes hold no answer of a foreign-key join");
        let (version, rest) = present(bytes)?.split_first_chunk::<VERSION>().ok_or_else(broken)?;
        let (is_there, row) = rest.split_first().ok_or_else(broken)?;
        let row = (*is_there == 1).then(|| self.0.decode(Some(row))).transpose()?;
        Ok(Reply { version: *version, row })
    }
}
