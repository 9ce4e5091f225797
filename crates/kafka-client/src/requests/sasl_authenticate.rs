//! SaslAuthenticate: a message of the mechanism, and the broker's answer to it.

use std::time::{Duration, Instant};

use crate::connection::{Connection, RequestError, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

const API: Api =
    Api { key: 36, name: "SaslAuthenticate", versions: VersionRange::new(0, 2), flexible_since: 2 };

/// The broker's answer to a message.
pub(crate) struct SaslResponse {
    /// Its message.
    pub(crate) bytes: Vec<u8>,
    /// For how long this client is authenticated; zero is without end.
    pub(crate) session_lifetime: Duration,
}

pub(crate) fn sasl_authenticate(
    connection: &mut Connection,
    message: &[u8],
    deadline: Instant,
) -> Result<SaslResponse> {
    let write = |output: &mut RequestWriter| {
        output.bytes(message);
        output.no_tags();
    };
    let (code, why, response) = connection.call_unauthenticated(&API, deadline, write, read)?;
    if code == ErrorCode::SASL_AUTHENTICATION_FAILED {
        return Err(RequestError::security("SASL_AUTHENTICATION_FAILED", &why));
    }
    code.ok()?;
    Ok(response)
}

fn read(input: &mut ResponseReader<'_>) -> Read<(ErrorCode, String, SaslResponse)> {
    let code = ErrorCode(input.i16()?);
    let why = input.nullable_string()?.unwrap_or("the broker does not say why").to_owned();
    let bytes = input.nullable_bytes()?.unwrap_or_default().to_vec();
    let millis = if input.version >= 1 { input.i64()? } else { 0 };
    input.tags()?;
    let session_lifetime = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    Ok((code, why, SaslResponse { bytes, session_lifetime }))
}
