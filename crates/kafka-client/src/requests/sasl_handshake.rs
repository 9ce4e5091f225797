//! SaslHandshake: which mechanism authenticates this client.

use std::time::Instant;

use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, RequestWriter, VersionRange};

/// Not version 0, after which the bytes of SASL are not requests.
const API: Api = Api {
    key: 17,
    name: "SaslHandshake",
    versions: VersionRange::new(1, 1),
    flexible_since: i16::MAX,
};

pub(crate) fn sasl_handshake(connection: &mut Connection, deadline: Instant) -> Result<()> {
    let write = |output: &mut RequestWriter| output.string("PLAIN");
    // The mechanisms that the broker knows follow.
    let code = connection.call(&API, deadline, write, |input| input.i16())?;
    Ok(ErrorCode(code).ok()?)
}
