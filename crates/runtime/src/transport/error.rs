//! Errors of the transport, classified by the necessary reaction.

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

/// How to react to a [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing happened; retry after a while (the broker is away, a request timed out without
    /// effect, an offset is not stable yet).
    Retriable,
    /// The transaction cannot be committed: abort it, rewind, process again. The producer stays
    /// usable.
    Abortable,
    /// Another client has this identity or these partitions: nothing was written, and nothing will
    /// be.
    Fenced,
    /// The outcome is not known, because a transactional request timed out: find out from the log,
    /// with a new producer.
    Unknown,
    /// The topic or partition does not exist.
    NotFound,
    /// The topic exists already.
    Exists,
    /// Refused for a reason that retrying does not change: authorisation, a record that is too
    /// large, wrong configuration.
    Refused,
    /// The client is no longer usable; a new one may be.
    Fatal,
}

impl TransportError {
    /// An error of `kind` in `context`, because of `cause`. The context is what was being done,
    /// with topic and partition if there are any.
    pub fn new(
        kind: ErrorKind,
        context: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, context: context.into(), cause: cause.into() }
    }

    /// Returns how to react to it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
