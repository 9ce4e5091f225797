//! How to open a damaged log, and what was lost.

use std::fmt;
use std::path::PathBuf;

use streams_core::TopicPartition;

/// What opening a damaged log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// Fails with an error that says what is damaged and where. The log is not changed.
    #[default]
    Refuse,
    /// Copies everything intact to a new log, which replaces the damaged one. The damaged log is
    /// kept beside it as `log.redb.damaged`, with a number if that name is taken.
    /// [`EmbeddedLog::left_out`](crate::EmbeddedLog::left_out) and the program's log list what was
    /// left out.
    ///
    /// Still fails if the committed records can no longer be identified, or if the list of topics
    /// is lost.
    Skip,
}

/// When a log is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Verifies the whole log each time it is opened (docs/evidence/operation.md says how long that
    /// takes), and each record again when it is read.
    #[default]
    WhenOpened,
    /// Verifies topics, offsets and transactions when the log is opened, and records when they are
    /// read. A log of any size opens in milliseconds, also after a crash if it is bigger than the
    /// cache; the price is a second sync per commit. With [`Damaged::Skip`] the whole log is
    /// verified anyway.
    WhenRead,
}

/// Something that was damaged and is no longer in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Records of a partition, from offset `from` up to but not including `to`.
    Records {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that may have been lost.
        from: i64,
        /// The offset after the last that may have been lost.
        to: i64,
    },
    /// This many committed offsets of groups. A group without a committed offset starts where its
    /// configuration says.
    Offsets(u64),
    /// This many of the log's last commits, with everything in them.
    Commits(u64),
    /// The mark file beside the log. Without it nothing tells whether the last commits are missing.
    Mark,
    /// Not lost: the path under which the damaged log was kept.
    KeptAs(PathBuf),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records { partition, from, to } => {
                write!(f, "{partition}: records from offset {from} up to but not including {to}")
            }
            Self::Offsets(count) => write!(f, "{count} committed offsets of groups"),
            Self::Commits(count) => write!(f, "the last {count} commits"),
            Self::Mark => write!(f, "the mark: the last commits may be missing"),
            Self::KeptAs(path) => write!(f, "the damaged log is kept as {}", path.display()),
        }
    }
}
