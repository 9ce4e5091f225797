//! TxnOffsetCommit: a group's offsets become part of a transaction.

use std::time::Instant;

use super::ProducerIdAndEpoch;
use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

/// By version 5 (KIP-890) the broker adds the group to the transaction itself.
const API: Api =
    Api { key: 28, name: "TxnOffsetCommit", versions: VersionRange::new(5, 5), flexible_since: 3 };

/// Offsets of one topic: partition, offset, metadata.
pub(crate) type TopicOffsets<'a> = (&'a str, Vec<(i32, i64, &'a str)>);

/// Adds a group's offsets to the transaction.
pub(crate) struct TxnOffsetCommit<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer: ProducerIdAndEpoch,
    pub(crate) group_id: &'a str,
    pub(crate) generation: i32,
    pub(crate) member_id: &'a str,
    pub(crate) group_instance_id: Option<&'a str>,
    pub(crate) topics: &'a [TopicOffsets<'a>],
}

impl TxnOffsetCommit<'_> {
    /// Fails with the worst error of all partitions.
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<()> {
        let write = |output: &mut RequestWriter| self.write(output);
        let codes = connection.call(&API, deadline, write, read)?;
        let bad: Vec<_> = codes.into_iter().filter(|code| *code != ErrorCode::NONE).collect();
        let worst = bad.iter().find(|code| !code.is_retriable()).or(bad.first());
        Ok(worst.copied().map_or(Ok(()), Err)?)
    }

    fn write(&self, output: &mut RequestWriter) {
        output.string(self.transactional_id);
        output.string(self.group_id);
        output.i64(self.producer.producer_id);
        output.i16(self.producer.epoch);
        output.i32(self.generation);
        output.string(self.member_id);
        output.nullable_string(self.group_instance_id);
        output.array(self.topics.len());
        for (topic, partitions) in self.topics {
            output.string(topic);
            output.array(partitions.len());
            for (partition, offset, metadata) in partitions {
                output.i32(*partition);
                output.i64(*offset);
                output.i32(-1); // the leader's epoch: not known
                output.nullable_string(Some(metadata));
                output.no_tags();
            }
            output.no_tags();
        }
        output.no_tags();
    }
}

fn read(input: &mut ResponseReader<'_>) -> Read<Vec<ErrorCode>> {
    input.throttle()?;
    let topics = input.array(|input| {
        let _topic = input.string()?;
        let codes = input.array(|input| {
            let _partition = input.i32()?;
            let code = ErrorCode(input.i16()?);
            input.tags()?;
            Ok(code)
        })?;
        input.tags()?;
        Ok(codes)
    })?;
    Ok(topics.into_iter().flatten().collect())
}
