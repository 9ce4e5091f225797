//! The pure core of Headwater.

mod codec;
mod partition;
mod record;
mod store;

pub use codec::{Codec, CodecError};
pub use partition::partition_for;
pub use record::{
    Headers, OwnedBatch, OwnedRecord, RawRecord, Record, RecordBatch, Timestamp, TopicPartition,
};
pub use store::{Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName};
