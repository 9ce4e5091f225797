//! What has to be done about a librdkafka error.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use runtime::transport::{ErrorKind, TransportError};

/// An error of an ordinary call: fetching, looking up, administration.
pub(crate) fn plain(context: impl Into<String>, error: KafkaError) -> TransportError {
    let code = match &error {
        // Not among those that rdkafka itself takes the code of.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    TransportError::new(code.map_or(ErrorKind::Refused, kind_of), context, error)
}

/// An error code of an ordinary call.
pub(crate) fn code(context: impl Into<String>, code: Code) -> TransportError {
    TransportError::new(kind_of(code), context, code.to_string())
}

/// An error of a transactional request.
pub(crate) fn transactional(context: impl Into<String>, error: KafkaError) -> TransportError {
    let kind = match &error {
        KafkaError::Transaction(native) => {
            transactional_kind(native.code(), native.is_fatal(), native.txn_requires_abort())
        }
        other => other
            .rdkafka_error_code()
            .map_or(ErrorKind::Unknown, |code| transactional_kind(code, false, false)),
    };
    TransportError::new(kind, context, error)
}

/// What an error of a transactional request means. A time-out means that nobody knows what
/// happened: the request may arrive yet, and end a later transaction.
pub(crate) fn transactional_kind(code: Code, is_fatal: bool, requires_abort: bool) -> ErrorKind {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => ErrorKind::Fenced,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::OffsetMetadataTooLarge => ErrorKind::Refused,
        _ if requires_abort => ErrorKind::Abortable,
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
            ErrorKind::Unknown
        }
        Code::UnknownMemberId
        | Code::IllegalGeneration
        | Code::RebalanceInProgress
        | Code::FencedInstanceId => ErrorKind::Abortable,
        _ if is_fatal => ErrorKind::Fatal,
        // Anything else leaves the state of the transaction unclear.
        _ => ErrorKind::Unknown,
    }
}

fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            ErrorKind::NotFound
        }
        Code::TopicAlreadyExists => ErrorKind::Exists,
        Code::Fenced | Code::ProducerFenced | Code::FencedInstanceId => ErrorKind::Fenced,
        Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress => {
            ErrorKind::Abortable
        }
        Code::Fatal => ErrorKind::Fatal,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::InvalidArgument
        | Code::InvalidRequest
        | Code::PolicyViolation
        | Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::OffsetMetadataTooLarge
        | Code::UnsupportedVersion => ErrorKind::Refused,
        _ => ErrorKind::Retriable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_may_come_back() {
        for error in [
            KafkaError::AdminOp(Code::OperationTimedOut),
            KafkaError::MetadataFetch(Code::BrokerTransportFailure),
        ] {
            assert_eq!(plain("asking", error).kind(), ErrorKind::Retriable);
        }
    }

    /// To send them again would be for ever.
    #[test]
    fn records_that_the_broker_refuses_stay_refused() {
        for code in [
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::InvalidTimestamp,
            Code::InvalidRecord,
        ] {
            assert_eq!(kind_of(code), ErrorKind::Refused, "{code}");
            assert_eq!(transactional_kind(code, false, true), ErrorKind::Refused, "{code}");
        }
    }

    #[test]
    fn a_time_out_of_a_transactional_request_is_an_unknown_outcome() {
        for code in [Code::OperationTimedOut, Code::RequestTimedOut] {
            assert_eq!(transactional_kind(code, false, false), ErrorKind::Unknown);
        }
        // What librdkafka says when it wants the transaction aborted comes first.
        assert_eq!(transactional_kind(Code::MessageTimedOut, false, true), ErrorKind::Abortable);
        assert_eq!(transactional_kind(Code::Fenced, true, false), ErrorKind::Fenced);
        assert_eq!(transactional_kind(Code::IllegalGeneration, false, true), ErrorKind::Abortable);
    }
}
