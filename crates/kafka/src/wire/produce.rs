//! The request that carries records, and its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffer::{Input, Malformed, Output};
use super::codes::Code;
use super::connection::{Connection, Header, Kind, Result};
use super::records::{Compressor, RecordBatch, Stamp};
use super::requests::Identity;

/// Version 12: who sends it knows that the partition is added to the transaction by the broker.
const PRODUCE: Kind = Kind { api: 0, version: 12, header: Header::Flexible };

/// Records for several partitions of one broker.
pub(crate) struct Produce<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) identity: Identity,
    /// Topic, partition, sequence number of the first record, records. Each partition once, and
    /// those of a topic one after another.
    pub(crate) batches: &'a [(&'a str, i32, i32, &'a RecordBatch)],
    /// How long the broker waits for its replicas.
    pub(crate) timeout: Duration,
}

/// What became of one batch.
pub(crate) struct PartitionAnswer {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) code: Code,
    /// Why, in the broker's words.
    pub(crate) message: Option<String>,
    /// The offset of the first record.
    pub(crate) offset: i64,
}

impl Produce<'_> {
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        compressor: &mut Compressor,
        deadline: Instant,
    ) -> Result<Vec<PartitionAnswer>> {
        connection.call(&PRODUCE, deadline, |output| self.write(compressor, output), read)
    }

    fn write(&self, compressor: &mut Compressor, output: &mut Output) {
        output.nullable_text(Some(self.transactional_id));
        output.i16(-1); // acks: all
        output.i32(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
        let topics = || self.batches.chunk_by(|one, next| one.0 == next.0);
        output.array(topics().count());
        let mut records = Vec::new();
        for batches in topics() {
            output.text(batches[0].0);
            output.array(batches.len());
            for (_, partition, sequence, batch) in batches {
                output.i32(*partition);
                let Identity { producer_id, epoch } = self.identity;
                records.clear();
                let stamp = Stamp { producer_id, epoch, sequence: *sequence };
                compressor.append(batch, stamp, &mut records);
                output.binary(&records);
                output.no_tags();
            }
            output.no_tags();
        }
        output.no_tags();
    }
}

fn read(input: &mut Input<'_>) -> std::result::Result<Vec<PartitionAnswer>, Malformed> {
    let topics = input.array(|input| {
        let topic: Arc<str> = input.text()?.into();
        let partitions = input.array(|input| read_partition(&topic, input))?;
        input.tags()?;
        Ok(partitions)
    })?;
    Ok(topics.into_iter().flatten().collect())
}

fn read_partition(
    topic: &Arc<str>,
    input: &mut Input<'_>,
) -> std::result::Result<PartitionAnswer, Malformed> {
    let (partition, code, offset) = (input.i32()?, Code(input.i16()?), input.i64()?);
    let (_append_time, _log_start) = (input.i64()?, input.i64()?);
    let of_records = input.array(|input| {
        let (index, text) = (input.i32()?, input.nullable_text()?.map(str::to_owned));
        input.tags()?;
        Ok(text.map(|text| format!("record {index} of the batch: {text}")))
    })?;
    let message = input.nullable_text()?.map(str::to_owned);
    input.tags()?;
    let message = of_records.into_iter().flatten().next().or(message);
    Ok(PartitionAnswer { topic: Arc::clone(topic), partition, code, message, offset })
}
