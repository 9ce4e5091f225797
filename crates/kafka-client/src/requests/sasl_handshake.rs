//! SaslHandshake: which mechanism authenticates this client.

use std::time::Instant;

use crate::connection::{Connection, RequestError, Result};
use crate::protocol::{Api, ErrorCode, RequestWriter, ResponseReader, VersionRange};

/// Not version 0, after which the messages of SASL are not requests.
const API: Api = Api {
    key: 17,
    name: "SaslHandshake",
    versions: VersionRange::new(1, 1),
    flexible_since: i16::MAX,
};

pub(crate) fn sasl_handshake(
    connection: &mut Connection,
    mechanism: &str,
    deadline: Instant,
) -> Result<()> {
    let write = |output: &mut RequestWriter| output.string(mechanism);
    let (code, known) = connection.call_unauthenticated(&API, deadline, write, |input| {
        let code = ErrorCode(input.i16()?);
        let mechanisms = input.array(ResponseReader::string)?;
        Ok((code, mechanisms.join(", ")))
    })?;
    match code {
        ErrorCode::NONE => Ok(()),
        ErrorCode::UNSUPPORTED_SASL_MECHANISM => Err(RequestError::security(
            &format!("UNSUPPORTED_SASL_MECHANISM {mechanism}"),
            &format!("the broker knows {known}"),
        )),
        ErrorCode::ILLEGAL_SASL_STATE => Err(RequestError::security(
            "ILLEGAL_SASL_STATE",
            "the broker's listener has no SASL: security.protocol is PLAINTEXT or SSL there",
        )),
        code => Err(code.into()),
    }
}
