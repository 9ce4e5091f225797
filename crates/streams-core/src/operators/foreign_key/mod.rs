//! Join by a foreign key, across partitions.
//!
//! The left side *asks*: for each change of a row it sends a question to the partition of the row
//! that it points to. The right side *remembers* who pointed to which of its rows, and *answers*
//! the question, and again whenever its row changes. The left side *joins* an answer with its row
//! as it is by then, if the answer is to its latest version: others are stale, and a newer answer
//! is on its way.
//!
//! A version is the place of the record that changed the row, and a count of all changes that the
//! task made. The count is committed with the offsets, so nothing has to outlive a deleted row.

mod left;
mod messages;
mod right;

use std::sync::Arc;

use crate::codec::CodecError;
use crate::error::Failure;
use crate::state::read_back;

pub(crate) use left::{Join, Left, SubscribeByForeignKey};
pub(crate) use messages::{QuestionCodec, ReplyCodec};
pub(crate) use right::{Answer, Right, Tell};

/// What distinguishes the changes of a row.
pub(crate) const VERSION: usize = 16;
pub(crate) type Version = [u8; VERSION];

/// A version as a table of the join holds it for `key`.
fn version(table: &Arc<str>, key: &[u8], stored: &[u8]) -> Result<Version, Failure> {
    stored.try_into().map_err(|_| {
        let why = format!("{} bytes, where a version has {VERSION}", stored.len());
        read_back::broken(table, "value", read_back::shown(key), CodecError::new(why))
    })
}

/// What is asked of the right side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Remember me, and answer in any case.
    Always,
    /// Remember me, and answer; that nothing is there is news only if something was.
    Hopeful,
    /// Forget me, without an answer.
    Forget,
    /// Forget me, and answer that there is nothing.
    ForgetAndTell,
}

/// A question, or a notice, to the row that a key's row points to, or pointed to.
pub(crate) struct Question {
    /// The asking row's key, in bytes.
    pub(crate) key: Box<[u8]>,
    pub(crate) version: Version,
    pub(crate) wish: Wish,
}

/// An answer: the version it is for, and what is there.
pub(crate) struct Reply<W> {
    pub(crate) version: Version,
    pub(crate) found: Found<W>,
}

/// What is there.
pub(crate) enum Found<W> {
    Row(W),
    Nothing,
    /// As before, as far as the asker could know. He may still have the result of an answer that
    /// was overtaken: then it goes now.
    StillNothing,
}
