//! The requests for records, and for the offsets where they begin and end.

use std::time::{Duration, Instant};

use super::buffer::{Input, Malformed, Output};
use super::codes::Code;
use super::connection::{Connection, Header, Kind, Result};

/// Version 12: the last one that names topics by their names.
pub(super) const FETCH: Kind = Kind { api: 1, version: 12, header: Header::Flexible };
/// Kafka 2.8 is the first that has it.
pub(super) const LIST_OFFSETS: Kind = Kind { api: 2, version: 6, header: Header::Flexible };

/// A partition to read, from an offset on.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Bytes of its part of the answer; a first batch that is larger comes all the same.
    pub(crate) bytes_max: usize,
}

/// Asks for records of partitions that one broker leads.
pub(crate) struct Fetch<'a> {
    pub(crate) wanted: &'a [Wanted<'a>],
    /// Only what was committed, and nothing behind the first open transaction.
    pub(crate) read_committed: bool,
    /// How long the broker waits until there is something.
    pub(crate) wait: Duration,
    /// Bytes of the whole answer.
    pub(crate) bytes_max: usize,
}

/// A partition's part of the answer.
pub(crate) struct FetchedPart<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) code: Code,
    /// The offset behind the last record that all replicas have.
    pub(crate) high_watermark: i64,
    /// The offset of the first record whose transaction is open, or else the high watermark.
    pub(crate) last_stable: i64,
    /// Transactions that were aborted: producer, first offset.
    pub(crate) aborted: Vec<(i64, i64)>,
    /// Batches of records; the last one may be cut off.
    pub(crate) records: &'a [u8],
}

impl Fetch<'_> {
    /// Hands each partition's part of the answer to `visit`.
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        deadline: Instant,
        mut visit: impl FnMut(FetchedPart<'_>),
    ) -> Result<()> {
        let write = |output: &mut Output| self.write(output);
        let code = connection.call(&FETCH, deadline, write, |input| {
            let (_throttled, code, _session) = (input.i32()?, Code(input.i16()?), input.i32()?);
            input.array(|input| {
                let topic = input.text()?;
                input.array(|input| {
                    visit(read_part(topic, input)?);
                    Ok(())
                })?;
                input.tags()
            })?;
            Ok(code)
        })?;
        Ok(code.ok()?)
    }

    fn write(&self, output: &mut Output) {
        let int = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        output.i32(-1); // no replica
        output.i32(i32::try_from(self.wait.as_millis()).unwrap_or(i32::MAX));
        output.i32(1); // bytes that are worth an answer
        output.i32(int(self.bytes_max));
        output.i8(self.read_committed.into());
        output.i32(0); // no session
        output.i32(-1);
        let topics = || self.wanted.chunk_by(|one, next| one.topic == next.topic);
        output.array(topics().count());
        for partitions in topics() {
            output.text(partitions[0].topic);
            output.array(partitions.len());
            for wanted in partitions {
                output.i32(wanted.partition);
                output.i32(-1); // the leader's epoch: not known
                output.i64(wanted.offset);
                output.i32(-1); // the last record's epoch: not known
                output.i64(-1); // where a follower's log begins
                output.i32(int(wanted.bytes_max));
                output.no_tags();
            }
            output.no_tags();
        }
        output.array(0); // nothing to forget
        output.text(""); // no rack
        output.no_tags();
    }
}

fn read_part<'a>(
    topic: &'a str,
    input: &mut Input<'a>,
) -> std::result::Result<FetchedPart<'a>, Malformed> {
    let (partition, code, high_watermark) = (input.i32()?, Code(input.i16()?), input.i64()?);
    let last_stable = input.i64()?;
    let _log_start = input.i64()?;
    let aborted = input.array(|input| {
        let transaction = (input.i64()?, input.i64()?);
        input.tags()?;
        Ok(transaction)
    })?;
    let _preferred_replica = input.i32()?;
    let records = input.binary()?.unwrap_or_default();
    input.tags()?;
    Ok(FetchedPart { topic, partition, code, high_watermark, last_stable, aborted, records })
}

/// A place in a partition that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first record that is still there.
    Beginning,
    /// Behind the last record, committed or not.
    End,
}

/// Asks the leader of a partition for the offset of a place.
pub(crate) struct ListOffsets<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// The leader's, −1 if it is not known. Who is the leader no more and does not know it refuses.
    pub(crate) epoch: i32,
    pub(crate) place: Place,
}

impl ListOffsets<'_> {
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<i64> {
        let write = |output: &mut Output| {
            output.i32(-1); // no replica
            output.i8(0); // read uncommitted
            output.array(1);
            output.text(self.topic);
            output.array(1);
            output.i32(self.partition);
            output.i32(self.epoch);
            output.i64(match self.place {
                Place::Beginning => -2,
                Place::End => -1,
            });
            output.no_tags();
            output.no_tags();
            output.no_tags();
        };
        let offsets = connection.call(&LIST_OFFSETS, deadline, write, |input| {
            let _throttled = input.i32()?;
            let topics = input.array(|input| {
                let _topic = input.text()?;
                let partitions = input.array(|input| {
                    let (_partition, code) = (input.i32()?, Code(input.i16()?));
                    let (_timestamp, offset, _epoch) = (input.i64()?, input.i64()?, input.i32()?);
                    input.tags()?;
                    Ok((code, offset))
                })?;
                input.tags()?;
                Ok(partitions)
            })?;
            Ok(topics.into_iter().flatten().next())
        })?;
        let (code, offset) = offsets.ok_or(Malformed)?;
        code.ok()?;
        Ok(offset)
    }
}
