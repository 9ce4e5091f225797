//! Shorthands for transport errors.

use std::fmt::Display;

use runtime::transport::{ErrorKind, TransportError};

pub(crate) fn refused(context: impl Into<String>, cause: impl Into<String>) -> TransportError {
    TransportError::new(ErrorKind::Refused, context, cause.into())
}

pub(crate) fn fenced(context: impl Into<String>, cause: impl Into<String>) -> TransportError {
    TransportError::new(ErrorKind::Fenced, context, cause.into())
}

pub(crate) fn abortable(context: impl Into<String>, cause: impl Into<String>) -> TransportError {
    TransportError::new(ErrorKind::Abortable, context, cause.into())
}

pub(crate) fn retriable(context: impl Into<String>, cause: impl Into<String>) -> TransportError {
    TransportError::new(ErrorKind::Retriable, context, cause.into())
}

pub(crate) fn fatal(context: impl Into<String>, cause: impl Into<String>) -> TransportError {
    TransportError::new(ErrorKind::Fatal, context, cause.into())
}

pub(crate) fn no_topic(doing: &str, topic: &str) -> TransportError {
    TransportError::new(ErrorKind::NotFound, format!("{doing} {topic}"), "no such topic")
}

pub(crate) fn no_partition(doing: &str, partition: &impl Display) -> TransportError {
    TransportError::new(ErrorKind::NotFound, format!("{doing} {partition}"), "no such partition")
}
