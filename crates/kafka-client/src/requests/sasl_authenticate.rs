//! SaslAuthenticate: a message of the mechanism, and the broker's answer to it.

use std::time::Instant;

use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, RequestWriter, VersionRange};
use crate::settings::Credentials;

const API: Api =
    Api { key: 36, name: "SaslAuthenticate", versions: VersionRange::new(0, 2), flexible_since: 2 };

pub(crate) fn sasl_authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
    deadline: Instant,
) -> Result<()> {
    let token = format!("\0{}\0{}", credentials.username, credentials.password);
    let write = |output: &mut RequestWriter| {
        output.bytes(token.as_bytes());
        output.no_tags();
    };
    let code = connection.call(&API, deadline, write, |input| input.i16())?;
    Ok(ErrorCode(code).ok()?)
}
