//! Fetch: records of partitions that one broker leads.

use std::time::{Duration, Instant};

use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

/// Version 4 is the first with isolation levels; version 12 is the last one that names topics by
/// their names.
pub(super) const API: Api =
    Api { key: 1, name: "Fetch", versions: VersionRange::new(4, 12), flexible_since: 12 };

/// A partition to read, from an offset on.
#[derive(Clone, Copy)]
pub(crate) struct FetchPartition<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Bytes of its part of the response; a first batch that is larger comes all the same.
    pub(crate) bytes_max: usize,
}

/// Asks for records of partitions that one broker leads.
pub(crate) struct FetchRequest<'a> {
    pub(crate) partitions: &'a [FetchPartition<'a>],
    /// Only what was committed, and nothing after the first open transaction.
    pub(crate) read_committed: bool,
    /// How long the broker waits until there is something.
    pub(crate) wait: Duration,
    /// Bytes of the whole response.
    pub(crate) bytes_max: usize,
}

/// A partition's part of the response.
pub(crate) struct FetchPartitionData<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) code: ErrorCode,
    /// The offset after the last record that all replicas have.
    pub(crate) high_watermark: i64,
    /// The offset of the first record whose transaction is open, or else the high watermark.
    pub(crate) last_stable_offset: i64,
    /// Transactions that were aborted: producer, first offset.
    pub(crate) aborted: Vec<(i64, i64)>,
    /// Batches of records; the last one may be cut off.
    pub(crate) records: &'a [u8],
}

impl FetchRequest<'_> {
    /// Hands each partition's part of the response to `visit`.
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        deadline: Instant,
        visit: impl FnMut(FetchPartitionData<'_>),
    ) -> Result<()> {
        let write = |output: &mut RequestWriter| self.write(output);
        let code = connection.call(&API, deadline, write, |input| read(input, visit))?;
        Ok(code.ok()?)
    }

    fn write(&self, output: &mut RequestWriter) {
        let int = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        output.i32(-1); // replica_id: a consumer
        output.i32(i32::try_from(self.wait.as_millis()).unwrap_or(i32::MAX));
        output.i32(1); // min_bytes that are worth a response
        output.i32(int(self.bytes_max));
        output.i8(self.read_committed.into());
        if output.version >= 7 {
            output.i32(0); // no fetch session
            output.i32(-1);
        }
        let topics = || self.partitions.chunk_by(|one, next| one.topic == next.topic);
        output.array(topics().count());
        for partitions in topics() {
            output.string(partitions[0].topic);
            output.array(partitions.len());
            for wanted in partitions {
                output.i32(wanted.partition);
                if output.version >= 9 {
                    output.i32(-1); // the leader's epoch: not known
                }
                output.i64(wanted.offset);
                if output.version >= 12 {
                    output.i32(-1); // the last record's epoch: not known
                }
                if output.version >= 5 {
                    output.i64(-1); // where a follower's log begins
                }
                output.i32(int(wanted.bytes_max));
                output.no_tags();
            }
            output.no_tags();
        }
        if output.version >= 7 {
            output.array(0); // nothing leaves the fetch session
        }
        if output.version >= 11 {
            output.string(""); // no rack
        }
        output.no_tags();
    }
}

fn read(
    input: &mut ResponseReader<'_>,
    mut visit: impl FnMut(FetchPartitionData<'_>),
) -> Read<ErrorCode> {
    input.throttle()?;
    let mut code = ErrorCode::NONE;
    if input.version >= 7 {
        code = ErrorCode(input.i16()?);
        let _session_id = input.i32()?;
    }
    input.array(|input| {
        let topic = input.string()?;
        input.array(|input| {
            visit(FetchPartitionData::read(topic, input)?);
            Ok(())
        })?;
        input.tags()
    })?;
    Ok(code)
}

impl<'a> FetchPartitionData<'a> {
    fn read(topic: &'a str, input: &mut ResponseReader<'a>) -> Read<Self> {
        let partition = input.i32()?;
        let code = ErrorCode(input.i16()?);
        let high_watermark = input.i64()?;
        let last_stable_offset = input.i64()?;
        if input.version >= 5 {
            let _log_start_offset = input.i64()?;
        }
        let aborted = input.array(|input| {
            let transaction = (input.i64()?, input.i64()?);
            input.tags()?;
            Ok(transaction)
        })?;
        if input.version >= 11 {
            let _preferred_read_replica = input.i32()?;
        }
        let records = input.nullable_bytes()?.unwrap_or_default();
        input.tags()?;
        Ok(Self { topic, partition, code, high_watermark, last_stable_offset, aborted, records })
    }
}
