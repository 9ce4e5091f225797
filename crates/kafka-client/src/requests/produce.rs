//! Produce: batches of records for several partitions of one broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ProducerIdAndEpoch;
use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};
use crate::records::{BatchProducer, Compressor, EncodedBatch};

/// By version 12 (KIP-890) the broker adds the partition to the transaction itself.
const API: Api =
    Api { key: 0, name: "Produce", versions: VersionRange::new(12, 12), flexible_since: 9 };

/// A batch for one partition.
pub(crate) struct ProducePartition<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// The sequence number of the first record.
    pub(crate) sequence: i32,
    pub(crate) records: &'a EncodedBatch,
}

/// Records for several partitions of one broker.
pub(crate) struct ProduceRequest<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer: ProducerIdAndEpoch,
    /// Each partition once, and those of a topic one after another.
    pub(crate) batches: &'a [ProducePartition<'a>],
    /// How long the broker waits for its replicas.
    pub(crate) timeout: Duration,
}

/// What became of one batch.
pub(crate) struct ProducePartitionResponse {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) code: ErrorCode,
    /// Why, in the broker's words.
    pub(crate) message: Option<String>,
    /// The offset of the first record.
    pub(crate) base_offset: i64,
}

impl ProduceRequest<'_> {
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        compressor: &mut Compressor,
        deadline: Instant,
    ) -> Result<Vec<ProducePartitionResponse>> {
        let write = |output: &mut RequestWriter| self.write(compressor, output);
        connection.call(&API, deadline, write, read)
    }

    fn write(&self, compressor: &mut Compressor, output: &mut RequestWriter) {
        output.nullable_string(Some(self.transactional_id));
        output.i16(-1); // acks: all
        output.i32(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
        let topics = || self.batches.chunk_by(|one, next| one.topic == next.topic);
        output.array(topics().count());
        let mut records = Vec::new();
        for batches in topics() {
            output.string(batches[0].topic);
            output.array(batches.len());
            for batch in batches {
                output.i32(batch.partition);
                let ProducerIdAndEpoch { producer_id, epoch } = self.producer;
                let sequence = batch.sequence;
                records.clear();
                let producer = BatchProducer { producer_id, epoch, sequence };
                compressor.append(batch.records, producer, &mut records);
                output.bytes(&records);
                output.no_tags();
            }
            output.no_tags();
        }
        output.no_tags();
    }
}

fn read(input: &mut ResponseReader<'_>) -> Read<Vec<ProducePartitionResponse>> {
    let topics = input.array(|input| {
        let topic: Arc<str> = input.string()?.into();
        let read = |input: &mut ResponseReader<'_>| ProducePartitionResponse::read(&topic, input);
        let partitions = input.array(read)?;
        input.tags()?;
        Ok(partitions)
    })?;
    input.throttle()?;
    Ok(topics.into_iter().flatten().collect())
}

impl ProducePartitionResponse {
    fn read(topic: &Arc<str>, input: &mut ResponseReader<'_>) -> Read<Self> {
        let partition = input.i32()?;
        let code = ErrorCode(input.i16()?);
        let base_offset = input.i64()?;
        let _log_append_time = input.i64()?;
        let _log_start_offset = input.i64()?;
        let of_records = input.array(|input| {
            let index = input.i32()?;
            let text = input.nullable_string()?.map(str::to_owned);
            input.tags()?;
            Ok(text.map(|text| format!("record {index} of the batch: {text}")))
        })?;
        let message = input.nullable_string()?.map(str::to_owned);
        input.tags()?;
        let message = of_records.into_iter().flatten().next().or(message);
        Ok(Self { topic: Arc::clone(topic), partition, code, message, base_offset })
    }
}
