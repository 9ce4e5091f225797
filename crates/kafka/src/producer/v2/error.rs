//! What has to be done about an error of the second client.

use confluent_kafka::common::Error;
use runtime::transport::{ErrorKind, TransportError};

/// An error of an ordinary call: looking up, administration, the first call of a producer.
pub(super) fn plain(context: &str, error: &Error) -> TransportError {
    let kind = match error {
        error if error.is_unknown_topic_or_partition_error() => ErrorKind::NotFound,
        error if is_refusal(error) => ErrorKind::Refused,
        error if is_fence(error) => ErrorKind::Fenced,
        _ => ErrorKind::Retriable,
    };
    TransportError::new(kind, context, error.to_string())
}

/// An error inside a transaction.
pub(super) fn transactional(context: &str, error: &Error) -> TransportError {
    TransportError::new(transactional_kind(error), context, chain(error))
}

/// An error of a record's delivery. Such a transaction cannot commit, and can be aborted.
pub(super) fn delivery(context: &str, error: &Error) -> TransportError {
    let kind = match transactional_kind(error) {
        ErrorKind::Unknown => ErrorKind::Abortable,
        other => other,
    };
    TransportError::new(kind, context, chain(error))
}

/// The client wraps what happened first; what has to be done follows from that.
fn transactional_kind(error: &Error) -> ErrorKind {
    let is_abortable = |error: &Error| {
        error.is_transaction_abortable_error()
            || error.is_consumer_commit_failed_error()
            || error.is_unknown_member_id_error()
            || error.is_illegal_generation_error()
            || error.is_rebalance_in_progress_error()
    };
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .find_map(|error| match error {
            error if is_refusal(error) => Some(ErrorKind::Refused),
            error if is_fence(error) => Some(ErrorKind::Fenced),
            error if error.is_unknown_topic_or_partition_error() => Some(ErrorKind::NotFound),
            error if is_abortable(error) => Some(ErrorKind::Abortable),
            _ => None,
        })
        // Nothing else says whether the transaction may have ended.
        .unwrap_or(ErrorKind::Unknown)
}

fn is_fence(error: &Error) -> bool {
    error.is_producer_fenced_error()
        || error.is_invalid_producer_epoch_error()
        || error.is_fenced_instance_id_error()
}

/// Trying again changes nothing.
fn is_refusal(error: &Error) -> bool {
    error.is_authorization_error()
        || error.is_authentication_error()
        || error.is_record_too_large_error()
        || error.is_offset_metadata_too_large_error()
        || error.is_invalid_configuration_error()
        || error.is_local_illegal_argument_error()
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
