//! FindCoordinator: the broker that coordinates a group, or the transactions of an id.

use std::time::Instant;

use super::metadata::read_address;
use crate::connection::{Connection, Result};
use crate::protocol::{
    Api, ErrorCode, Malformed, Read, RequestWriter, ResponseReader, VersionRange,
};

/// Version 4 is the first that asks for several at once. Version 0 knows groups only.
pub(super) const API: Api =
    Api { key: 10, name: "FindCoordinator", versions: VersionRange::new(1, 4), flexible_since: 3 };

/// What is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoordinatorType {
    Group = 0,
    Transaction = 1,
}

/// Asks for a coordinator.
pub(crate) struct FindCoordinator<'a> {
    pub(crate) coordinator_type: CoordinatorType,
    /// The group, or the transactional id.
    pub(crate) key: &'a str,
}

impl FindCoordinator<'_> {
    /// The coordinator's address.
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<String> {
        let write = |output: &mut RequestWriter| self.write(output);
        let (code, address) = connection.call(&API, deadline, write, read)?;
        code.ok()?;
        Ok(address)
    }

    fn write(&self, output: &mut RequestWriter) {
        if output.version >= 4 {
            output.i8(self.coordinator_type as i8);
            output.array(1);
            output.string(self.key);
        } else {
            output.string(self.key);
            output.i8(self.coordinator_type as i8);
        }
        output.no_tags();
    }
}

fn read(input: &mut ResponseReader<'_>) -> Read<(ErrorCode, String)> {
    input.throttle()?;
    if input.version >= 4 {
        let found = input.array(|input| {
            let _key = input.string()?;
            let _node_id = input.i32()?;
            let address = read_address(input)?;
            let code = ErrorCode(input.i16()?);
            let _message = input.nullable_string()?;
            input.tags()?;
            Ok((code, address))
        })?;
        return found.into_iter().next().ok_or(Malformed);
    }
    let code = ErrorCode(input.i16()?);
    let _message = input.nullable_string()?;
    let _node_id = input.i32()?;
    Ok((code, read_address(input)?))
}
