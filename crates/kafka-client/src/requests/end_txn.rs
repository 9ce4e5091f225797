//! EndTxn: commits or aborts a transaction.

use std::time::Instant;

use super::{ProducerIdAndEpoch, init_producer_id};
use crate::connection::{Connection, Result};
use crate::protocol::{Api, RequestWriter, VersionRange};

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
        let (code, next) = connection.call(&API, deadline, write, init_producer_id::read)?;
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
