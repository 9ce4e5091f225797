//! As much of Kafka's protocol as a transactional producer needs, and no more: brokers 4.0 and
//! later.
//!
//! | file | what it is |
//! |---|---|
//! | `buffer.rs` | the protocol's numbers, texts and arrays |
//! | `codes.rs` | what brokers answer when something is wrong |
//! | `connection.rs` | a connection to one broker: requests and answers in turn |
//! | `produce.rs` | the request that carries records, and its answer |
//! | `records.rs` | records in batches: format 2, LZ4 |
//! | `requests.rs` | all other requests |

mod buffer;
mod codes;
mod connection;
mod produce;
mod records;
mod requests;

pub(crate) use codes::Code;
pub(crate) use connection::{Connection, Login, Result, WireError};
pub(crate) use produce::{PartitionAnswer, Produce};
pub(crate) use records::{Compression, Compressor, RecordBatch, Writer as BatchWriter};
pub(crate) use requests::{
    Coordinator, CoordinatorKind, EndTxn, Features, FoundTopic, Identity, InitProducerId, Metadata,
    TxnOffsetCommit,
};
