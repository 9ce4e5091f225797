//! What to do about damage, and what came of it.

use std::fmt;
use std::path::PathBuf;

use streams_core::TopicPartition;

/// What opening a damaged log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// It is an error, which says what is damaged and where. Nothing is taken out of the log.
    #[default]
    Refuse,
    /// Whatever is as it was written is copied to a new log, which takes the place of the damaged
    /// one; that stays beside it as `log.redb.damaged`, with a number if there is one already. What
    /// had to be left out is in [`EmbeddedLog::left_out`](crate::EmbeddedLog::left_out), and in the
    /// program's log.
    ///
    /// It is still an error if it can no longer be told which records were committed, or if the
    /// list of topics is lost.
    Skip,
}

/// When a log is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// All of it each time it is opened (docs/evidence/operation.md says how long that takes), and
    /// again whatever is read later.
    #[default]
    WhenOpened,
    /// Topics, offsets and transactions when it is opened, records when they are read. It opens in
    /// milliseconds whatever its size, after a crash too if it is bigger than the cache; for that
    /// each commit is synced twice. With [`Damaged::Skip`] all of it is verified nevertheless.
    WhenRead,
}

/// Something that was damaged and is not in the log any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Records of a partition: those from offset `from` to before `to` that there were.
    Records {
        /// Where they were.
        partition: TopicPartition,
        /// The first offset that may have been lost.
        from: i64,
        /// The offset after the last that may have been lost.
        to: i64,
    },
    /// So many committed offsets of groups: whoever needs one begins where it begins without one.
    Offsets(u64),
    /// So many of the last commits of the log, with all that was in them.
    Commits(u64),
    /// The mark beside the log, and with it the knowledge whether commits are missing at the end.
    Mark,
    /// Not lost: where the damaged log was put.
    KeptAs(PathBuf),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records { partition, from, to } => {
                write!(f, "{partition}: what was from offset {from} to before {to}")
            }
            Self::Offsets(count) => write!(f, "{count} committed offsets of groups"),
            Self::Commits(count) => write!(f, "the last {count} commits"),
            Self::Mark => write!(f, "the mark, and whether commits are missing at the end"),
            Self::KeptAs(path) => write!(f, "the damaged log itself is kept as {}", path.display()),
        }
    }
}
