//! Why a request has no good response.

use std::io;
use std::time::Duration;

use super::RESPONSE_MAX;
use crate::protocol::{ErrorCode, Malformed, VersionRange};

/// Why a request has no good response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The connection failed. If a request was sent, whether it was done is not known.
    #[error("{0}")]
    Connection(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The broker closed a connection before it had answered one request that only a client may
    /// send whose security settings are right.
    #[error("{0}")]
    HandshakeCut(String),
    /// TLS or SASL failed, and will again.
    #[error("{0}")]
    Security(String),
    /// Asking again would bring the same.
    #[error(
        "a response of {0} bytes, more than our client takes ({RESPONSE_MAX}): no Kafka broker is \
         at this address, it wants another security.protocol, or a batch of records is this large"
    )]
    TooLarge(usize),
    #[error(transparent)]
    Refused(#[from] ErrorCode),
    /// The broker is over a quota and wants no request before that. Nothing was sent.
    #[error("the broker throttles this client for {} ms, by a quota", .0.as_millis())]
    Throttled(Duration),
    /// The broker speaks no version of a request that this client speaks.
    #[error("{}", unsupported(.api, *.ours, *.brokers))]
    Unsupported { api: &'static str, ours: VersionRange, brokers: Option<VersionRange> },
}

fn unsupported(api: &str, ours: VersionRange, brokers: Option<VersionRange>) -> String {
    let brokers = match brokers {
        Some(versions) => format!("only in {versions}"),
        None => "in no version".to_owned(),
    };
    format!("the broker speaks {api} {brokers}, and our client speaks {ours}")
}

impl RequestError {
    /// TLS or SASL failed: what, and why.
    pub(crate) fn security(what: &str, why: &str) -> Self {
        Self::Security(format!("{what}: {why}"))
    }

    /// Whether the same again, perhaps at another broker, may bring something else.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Connection(_)
            | Self::Malformed(_)
            | Self::Throttled(_)
            | Self::HandshakeCut(_) => true,
            Self::Refused(code) => code.is_retriable(),
            Self::TooLarge(_) | Self::Unsupported { .. } | Self::Security(_) => false,
        }
    }

    /// Whether it is this client or its settings that are wrong, rather than one request.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::Unsupported { .. } | Self::Security(_))
    }

    /// Whether the connection can be used for another request.
    pub(crate) fn keeps_connection(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Throttled(_) | Self::Unsupported { .. })
    }
}
