//! What has to be done about an error.

use runtime::transport::{ErrorKind, TransportError};

use crate::wire::{Code, WireError};

/// An error of a request about the transaction. Without an answer nobody knows what was done.
pub(super) fn transactional(context: &str, error: WireError) -> TransportError {
    of(context, error, ErrorKind::Unknown)
}

/// An error before anything was begun: it can be tried again.
pub(crate) fn plain(context: &str, error: WireError) -> TransportError {
    let is_passing = !matches!(error, WireError::TooLarge(_));
    of(context, error, if is_passing { ErrorKind::Retriable } else { ErrorKind::Refused })
}

fn of(context: &str, error: WireError, otherwise: ErrorKind) -> TransportError {
    let kind = match error {
        WireError::Refused(code) => kind_of(code).unwrap_or(otherwise),
        _ => otherwise,
    };
    TransportError::new(kind, context, error)
}

/// What a broker's answer to a record means. A transaction without it cannot commit, and can be
/// aborted.
pub(super) fn delivery_kind(code: Code) -> ErrorKind {
    kind_of(code).unwrap_or(ErrorKind::Abortable)
}

fn kind_of(code: Code) -> Option<ErrorKind> {
    Some(match code {
        Code::INVALID_PRODUCER_EPOCH | Code::PRODUCER_FENCED | Code::FENCED_INSTANCE_ID => {
            ErrorKind::Fenced
        }
        Code::OUT_OF_ORDER_SEQUENCE_NUMBER
        | Code::INVALID_TXN_STATE
        | Code::INVALID_PRODUCER_ID_MAPPING
        | Code::UNKNOWN_PRODUCER_ID
        | Code::TRANSACTION_ABORTABLE
        | Code::ILLEGAL_GENERATION
        | Code::UNKNOWN_MEMBER_ID
        | Code::REBALANCE_IN_PROGRESS
        | Code::STALE_MEMBER_EPOCH => ErrorKind::Abortable,
        Code::MESSAGE_TOO_LARGE
        | Code::RECORD_LIST_TOO_LARGE
        | Code::OFFSET_METADATA_TOO_LARGE
        | Code::TOPIC_AUTHORIZATION_FAILED
        | Code::GROUP_AUTHORIZATION_FAILED
        | Code::CLUSTER_AUTHORIZATION_FAILED
        | Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | Code::SASL_AUTHENTICATION_FAILED
        | Code::UNSUPPORTED_SASL_MECHANISM
        | Code::UNSUPPORTED_VERSION
        | Code::INVALID_TOPIC_EXCEPTION
        | Code::INVALID_GROUP_ID
        | Code::INVALID_TIMESTAMP
        | Code::INVALID_TRANSACTION_TIMEOUT
        | Code::INVALID_RECORD => ErrorKind::Refused,
        Code::UNKNOWN_TOPIC_OR_PARTITION => ErrorKind::NotFound,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_answer_the_outcome_of_a_transaction_is_unknown() {
        let cut = || WireError::Connection(std::io::ErrorKind::TimedOut.into());
        assert_eq!(transactional("committing", cut()).kind(), ErrorKind::Unknown);
        assert_eq!(plain("initializing", cut()).kind(), ErrorKind::Retriable);
        let busy = WireError::Refused(Code::CONCURRENT_TRANSACTIONS);
        assert_eq!(transactional("committing", busy).kind(), ErrorKind::Unknown);
    }

    #[test]
    fn answers_say_what_has_to_be_done() {
        for (code, kind) in [
            (Code::PRODUCER_FENCED, ErrorKind::Fenced),
            (Code::ILLEGAL_GENERATION, ErrorKind::Abortable),
            (Code::MESSAGE_TOO_LARGE, ErrorKind::Refused),
            (Code::UNKNOWN_TOPIC_OR_PARTITION, ErrorKind::NotFound),
            (Code::REQUEST_TIMED_OUT, ErrorKind::Abortable),
        ] {
            assert_eq!(delivery_kind(code), kind, "{code}");
        }
    }
}
