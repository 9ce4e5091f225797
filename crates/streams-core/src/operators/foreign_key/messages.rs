//! What the two sides send each other, in bytes.

use std::sync::Arc;

use super::{Found, Question, Reply, VERSION, Version, Wish};
use crate::codec::{Codec, CodecError, present};

/// Wish (1 byte), version, the key of the asking row.
pub(crate) struct QuestionCodec;

impl Question {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(match self.wish {
            Wish::Always => 0,
            Wish::Hopeful => 1,
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
        let broken = || CodecError::new("the bytes are not a question of a foreign-key join");
        let (wish, rest) = present(bytes)?.split_first().ok_or_else(broken)?;
        let wish = match wish {
            0 => Wish::Always,
            1 => Wish::Hopeful,
            2 => Wish::Forget,
            3 => Wish::ForgetAndTell,
            _ => return Err(broken()),
        };
        let (version, key) = rest.split_first_chunk::<VERSION>().ok_or_else(broken)?;
        Ok(Question { key: key.into(), version: *version, wish })
    }
}

/// Version, then 1 and the row, or 0 or 2 without a row.
pub(crate) struct ReplyCodec<W>(pub(crate) Arc<dyn Codec<W>>);

const NOTHING: u8 = 0;
const ROW: u8 = 1;
const STILL_NOTHING: u8 = 2;

impl<W: 'static> ReplyCodec<W> {
    pub(crate) fn write(
        &self,
        version: &Version,
        found: &Found<W>,
        out: &mut Vec<u8>,
    ) -> Result<bool, CodecError> {
        out.extend_from_slice(version);
        let mark = out.len();
        out.push(NOTHING);
        match found {
            Found::Nothing => {}
            Found::StillNothing => out[mark] = STILL_NOTHING,
            Found::Row(row) if self.0.encode(row, out)? => out[mark] = ROW,
            Found::Row(_) => {}
        }
        Ok(true)
    }
}

impl<W: 'static> Codec<Reply<W>> for ReplyCodec<W> {
    fn encode(&self, reply: &Reply<W>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        self.write(&reply.version, &reply.found, out)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Reply<W>, CodecError> {
        let broken = || CodecError::new("the bytes are not an answer of a foreign-key join");
        let (version, rest) = present(bytes)?.split_first_chunk::<VERSION>().ok_or_else(broken)?;
        let (kind, row) = rest.split_first().ok_or_else(broken)?;
        let found = match *kind {
            NOTHING => Found::Nothing,
            ROW => Found::Row(self.0.decode(Some(row))?),
            STILL_NOTHING => Found::StillNothing,
            _ => return Err(broken()),
        };
        Ok(Reply { version: *version, found })
    }
}
