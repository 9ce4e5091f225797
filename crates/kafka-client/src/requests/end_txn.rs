//! EndTxn: commits or aborts a transaction.

use std::time::Instant;

use super::ProducerIdAndEpoch;
use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

/// By version 5 (KIP-890) the coordinator begins a new epoch, and the response tells it.
const API: Api =
    Api { key: 26, name: "EndTxn", versions: VersionRange::new(5, 5), flexible_since: 3 };

/// Ends a transaction.
pub(crate) struct EndTxn<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer: ProducerIdAndEpoch,
    pub(crate) commits: bool,
}

impl EndTxn<'_> {
    /// Who the producer is in the next transaction.
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        deadline: Instant,
    ) -> Result<ProducerIdAndEpoch> {
        let write = |output: &mut RequestWriter| self.write(output);
        let (code, next) = connection.call(&API, deadline, write, read)?;
        code.ok()?;
        Ok(next)
    }

    fn write(&self, output: &mut RequestWriter) {
        output.string(self.transactional_id);
        output.i64(self.producer.producer_id);
        output.i16(self.producer.epoch);
        output.bool(self.commits);
        output.no_tags();
    }
}

fn read(input: &mut ResponseReader<'_>) -> Read<(ErrorCode, ProducerIdAndEpoch)> {
    input.throttle()?;
    let code = ErrorCode(input.i16()?);
    let next = ProducerIdAndEpoch { producer_id: input.i64()?, epoch: input.i16()? };
    Ok((code, next))
}
