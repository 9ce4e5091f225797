//! What can go wrong at the transport, by what has to be done about it.

use std::error::Error;

streams_core::debug_is_display!(TransportError);

/// An error of the transport.
#[derive(thiserror::Error)]
#[error("{context}: {cause}")]
pub struct TransportError {
    kind: ErrorKind,
    context: String,
    cause: Box<dyn Error + Send + Sync>,
}

/// What has to be done about a [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing happened; try again after a while (broker away, timed out without effect, not yet
    /// stable).
    Retriable,
    /// The transaction cannot commit: abort it, rewind, process again. The producer stays usable.
    Abortable,
    /// Somebody else has this identity or these partitions: nothing was and nothing will be written
    /// by it.
    Fenced,
    /// The outcome is not known (a transactional request timed out): find out from the log, with a
    /// new producer.
    Unknown,
    /// The topic or partition does not exist.
    NotFound,
    /// The topic exists already.
    Exists,
    /// Refused for a reason that trying again does not change: authorisation, a record that is too
    /// large, bad configuration.
    Refused,
    /// The client is no longer usable; a new one may work.
    Fatal,
}

impl TransportError {
    /// An error of `kind`, in `context` (what was being done, with topic and partition if any),
    /// because of `cause`.
    pub fn new(
        kind: ErrorKind,
        context: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, context: context.into(), cause: cause.into() }
    }

    /// What has to be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
