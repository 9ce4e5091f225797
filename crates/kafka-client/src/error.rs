//! Errors, by what has to be done about them.

use std::error::Error;
use std::fmt;

use crate::connection::RequestError;
use crate::protocol::ErrorCode;

/// An error of this client.
#[derive(thiserror::Error)]
#[error("{context}: {cause}")]
pub struct KafkaClientError {
    class: ErrorClass,
    context: String,
    cause: Box<dyn Error + Send + Sync>,
}

/// What has to be done about a [`KafkaClientError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Nothing happened: retry after a while.
    Retriable,
    /// The transaction cannot be committed: abort it. The producer stays usable.
    Abortable,
    /// Another client has this identity: nothing was written, and nothing will be.
    Fenced,
    /// A request of the transaction has no response: its outcome is not known.
    Unknown,
    /// The topic or partition does not exist.
    NotFound,
    /// Refused for a reason that retrying does not change.
    Refused,
    /// The client is no longer usable; a new one may be.
    Fatal,
}

impl KafkaClientError {
    /// An error of `class` in `context`, because of `cause`. The context is what was being done,
    /// with topic and partition if there are any.
    pub fn new(
        class: ErrorClass,
        context: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { class, context: context.into(), cause: cause.into() }
    }

    /// What has to be done about it.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// What was being done, and what was wrong.
    pub fn into_parts(self) -> (ErrorClass, String, Box<dyn Error + Send + Sync>) {
        (self.class, self.context, self.cause)
    }
}

impl fmt::Debug for KafkaClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error of a request about the transaction. Without a response its outcome is not known.
pub(crate) fn transactional(context: &str, error: RequestError) -> KafkaClientError {
    of(context, error, ErrorClass::Unknown)
}

/// An error before anything was begun: it can be tried again.
pub(crate) fn plain(context: &str, error: RequestError) -> KafkaClientError {
    let class = if error.is_permanent() { ErrorClass::Refused } else { ErrorClass::Retriable };
    of(context, error, class)
}

fn of(context: &str, error: RequestError, otherwise: ErrorClass) -> KafkaClientError {
    let class = match error {
        RequestError::Refused(code) => class_of(code).unwrap_or(otherwise),
        _ => otherwise,
    };
    KafkaClientError::new(class, context, error)
}

/// What a broker's response to a record means. A transaction that lacks the record cannot commit,
/// and can be aborted.
pub(crate) fn delivery_class(code: ErrorCode) -> ErrorClass {
    class_of(code).unwrap_or(ErrorClass::Abortable)
}

fn class_of(code: ErrorCode) -> Option<ErrorClass> {
    Some(match code {
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::FENCED_INSTANCE_ID => ErrorClass::Fenced,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::INVALID_TXN_STATE
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::TRANSACTION_ABORTABLE
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::REBALANCE_IN_PROGRESS
        | ErrorCode::STALE_MEMBER_EPOCH => ErrorClass::Abortable,
        ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::OFFSET_METADATA_TOO_LARGE
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::SASL_AUTHENTICATION_FAILED
        | ErrorCode::UNSUPPORTED_SASL_MECHANISM
        | ErrorCode::UNSUPPORTED_VERSION
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::INVALID_GROUP_ID
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::INVALID_TRANSACTION_TIMEOUT
        | ErrorCode::INVALID_RECORD => ErrorClass::Refused,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => ErrorClass::NotFound,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_answer_the_outcome_of_a_transaction_is_unknown() {
        let cut = || RequestError::Connection(std::io::ErrorKind::TimedOut.into());
        assert_eq!(transactional("committing", cut()).class(), ErrorClass::Unknown);
        assert_eq!(plain("initializing", cut()).class(), ErrorClass::Retriable);
        let busy = RequestError::Refused(ErrorCode::CONCURRENT_TRANSACTIONS);
        assert_eq!(transactional("committing", busy).class(), ErrorClass::Unknown);
    }

    #[test]
    fn answers_say_what_has_to_be_done() {
        for (code, class) in [
            (ErrorCode::PRODUCER_FENCED, ErrorClass::Fenced),
            (ErrorCode::ILLEGAL_GENERATION, ErrorClass::Abortable),
            (ErrorCode::MESSAGE_TOO_LARGE, ErrorClass::Refused),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorClass::NotFound),
            (ErrorCode::REQUEST_TIMED_OUT, ErrorClass::Abortable),
        ] {
            assert_eq!(delivery_class(code), class, "{code}");
        }
    }
}
