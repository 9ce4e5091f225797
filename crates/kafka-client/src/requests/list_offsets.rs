//! ListOffsets: where a partition begins and ends.

use std::time::Instant;

use crate::connection::{Connection, Result};
use crate::protocol::{
    Api, ErrorCode, Malformed, Read, RequestWriter, ResponseReader, VersionRange,
};

/// Version 0 answers with a list of offsets.
pub(super) const API: Api =
    Api { key: 2, name: "ListOffsets", versions: VersionRange::new(1, 6), flexible_since: 6 };

/// An offset that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// After the last record, committed or not.
    Latest,
}

/// Asks the leader of a partition for an offset.
pub(crate) struct ListOffsets<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// The leader's, −1 if it is not known. A former leader that does not know it refuses.
    pub(crate) leader_epoch: i32,
    pub(crate) spec: OffsetSpec,
}

impl ListOffsets<'_> {
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<i64> {
        let write = |output: &mut RequestWriter| self.write(output);
        let (code, offset) = connection.call(&API, deadline, write, read)?;
        code.ok()?;
        Ok(offset)
    }

    fn write(&self, output: &mut RequestWriter) {
        output.i32(-1); // replica_id: a consumer
        if output.version >= 2 {
            output.i8(0); // read uncommitted
        }
        output.array(1);
        output.string(self.topic);
        output.array(1);
        output.i32(self.partition);
        if output.version >= 4 {
            output.i32(self.leader_epoch);
        }
        output.i64(match self.spec {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest => -1,
        });
        output.no_tags();
        output.no_tags();
        output.no_tags();
    }
}

fn read(input: &mut ResponseReader<'_>) -> Read<(ErrorCode, i64)> {
    if input.version >= 2 {
        input.throttle()?;
    }
    let topics = input.array(|input| {
        let _topic = input.string()?;
        let partitions = input.array(|input| {
            let _partition = input.i32()?;
            let code = ErrorCode(input.i16()?);
            let _timestamp = input.i64()?;
            let offset = input.i64()?;
            if input.version >= 4 {
                let _leader_epoch = input.i32()?;
            }
            input.tags()?;
            Ok((code, offset))
        })?;
        input.tags()?;
        Ok(partitions)
    })?;
    topics.into_iter().flatten().next().ok_or(Malformed)
}
