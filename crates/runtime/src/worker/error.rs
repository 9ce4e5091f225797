//! Why a worker's uncommitted work is lost, and what an error says about the producer.

use streams_core::TaskError;

use crate::error::AppError;
use crate::transport::{ErrorKind, TransportError};

#[derive(Debug)]
pub(super) enum WorkerError {
    /// Rewind to the last commit and go on from there: an ordinary event.
    Rewind { producer: ProducerHealth, reason: String },
    /// The application cannot go on, unless a corrupt store is the cause.
    Fatal(AppError),
}

/// Whether a producer can be used again, once its transaction is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProducerHealth {
    /// It can.
    Usable,
    /// What it asked for last may still happen, so it is given up.
    Uncertain,
    /// Another producer has its identity, so it is given up.
    Fenced,
}

impl ProducerHealth {
    pub(super) fn after(error: &TransportError) -> Self {
        match error.kind() {
            ErrorKind::Abortable => Self::Usable,
            ErrorKind::Fenced => Self::Fenced,
            _ => Self::Uncertain,
        }
    }
}

impl From<TransportError> for WorkerError {
    fn from(error: TransportError) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Refused => {
                Self::Fatal(error.into())
            }
            // This includes errors that the transport calls retriable: it has given up retrying,
            // and the worker cannot repeat a single request of a transaction.
            _ => {
                Self::Rewind { producer: ProducerHealth::after(&error), reason: error.to_string() }
            }
        }
    }
}

impl From<TaskError> for WorkerError {
    fn from(error: TaskError) -> Self {
        Self::Fatal(error.into())
    }
}
