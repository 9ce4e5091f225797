//! Join by a foreign key, across partitions.
//!
//! The left side *asks*: for each change of a row, it sends a question to the partition of the row
//! that it refers to. The right side *remembers* which rows refer to which of its rows. It
//! *answers* the question, and answers again whenever its row changes. The left side *joins* an
//! answer with the current version of its row, if the answer is for that version. Other answers are
//! outdated, and a newer one is on its way.
//!
//! A version is the input and offset of the record that changed the row, and a count of all changes
//! that the task made. The count is committed with the offsets, so nothing has to outlive a deleted
//! row.

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

/// The size of a version, which distinguishes the changes of a row.
pub(crate) const VERSION: usize = 16;
pub(crate) type Version = [u8; VERSION];

/// Reads a version that a table of the join has for `key`.
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
    /// Remember me, and answer. If there is no row, that is news only if there was one.
    Hopeful,
    /// Forget me, without an answer.
    Forget,
    /// Forget me, and answer that there is nothing.
    ForgetAndTell,
}

/// A question or a notice to the row that a row refers to, or referred to.
pub(crate) struct Question {
    /// The asking row's key, in bytes.
    pub(crate) key: Box<[u8]>,
    pub(crate) version: Version,
    pub(crate) wish: Wish,
}

/// An answer: the version that it is for, and the row.
pub(crate) struct Reply<W> {
    pub(crate) version: Version,
    pub(crate) found: Found<W>,
}

/// The row that was found.
pub(crate) enum Found<W> {
    Row(W),
    Nothing,
    /// There is no row, and there was none, as far as the left side could know. It may still have
    /// the result of an answer that was overtaken; if so, it deletes that result now.
    StillNothing,
}
