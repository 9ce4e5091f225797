//! Fetched records as a batch of the transport.

use kafka_client::FetchedBatch;
use runtime::transport::Fetched;
use streams_core::{Headers, RawRecord, RecordBatch};

use super::convert::partition_of;

struct OwnBatch(FetchedBatch);

impl RecordBatch for OwnBatch {
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn record(&self, index: usize) -> RawRecord<'_> {
        let record = self.0.record(index);
        RawRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
        }
    }

    fn headers(&self, index: usize, headers: &mut Headers) {
        self.0.headers(index, &mut |name, value| headers.push(name, value));
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

pub(super) fn fetched(batches: Vec<FetchedBatch>) -> Vec<Fetched> {
    let of_transport = |batch: FetchedBatch| Fetched {
        partition: partition_of(batch.partition()),
        batch: Box::new(OwnBatch(batch)),
    };
    batches.into_iter().map(of_transport).collect()
}
