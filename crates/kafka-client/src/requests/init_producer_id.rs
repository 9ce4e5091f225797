//! InitProducerId: who a transactional producer is.

use std::time::{Duration, Instant};

use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

pub(super) const API: Api =
    Api { key: 22, name: "InitProducerId", versions: VersionRange::new(0, 5), flexible_since: 2 };

/// Who a producer is in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdAndEpoch {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// Fences older producers with the same transactional id and ends their transactions.
pub(crate) struct InitProducerId<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) timeout: Duration,
}

impl InitProducerId<'_> {
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        deadline: Instant,
    ) -> Result<ProducerIdAndEpoch> {
        let write = |output: &mut RequestWriter| self.write(output);
        let (code, id) = connection.call(&API, deadline, write, read)?;
        code.ok()?;
        Ok(id)
    }

    fn write(&self, output: &mut RequestWriter) {
        output.nullable_string(Some(self.transactional_id));
        output.i32(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
        if output.version >= 3 {
            // The id of before is only for a producer that goes on with it.
            output.i64(-1);
            output.i16(-1);
        }
        output.no_tags();
    }
}

/// The response to this request and to EndTxn: whether it is done, and who the producer is now.
pub(super) fn read(input: &mut ResponseReader<'_>) -> Read<(ErrorCode, ProducerIdAndEpoch)> {
    input.throttle()?;
    let code = ErrorCode(input.i16()?);
    let id = ProducerIdAndEpoch { producer_id: input.i64()?, epoch: input.i16()? };
    Ok((code, id))
}
