//! As much of Kafka's protocol as fetching and transactional producing need, and no more.
//!
//! | file | what it is |
//! |---|---|
//! | `buffer.rs` | the protocol's numbers, texts and arrays |
//! | `codes.rs` | what brokers answer when something is wrong |
//! | `connection.rs` | a connection to one broker: requests and answers in turn |
//! | `decode.rs` | batches of records as they come from a broker |
//! | `decompress.rs` | what producers may have compressed them with |
//! | `fetch.rs` | the requests for records, and for the offsets where they begin and end |
//! | `fetched.rs` | records that were fetched, where they are in memory |
//! | `patience.rs` | how long a request and its answer may take |
//! | `produce.rs` | the request that carries records, and its answer |
//! | `records.rs` | batches of records as they go to a broker: format 2, LZ4 |
//! | `requests.rs` | all other requests |

mod buffer;
mod codes;
mod connection;
mod decode;
mod decompress;
mod fetch;
mod fetched;
mod patience;
mod produce;
mod records;
mod requests;

pub(crate) use codes::Code;
pub(crate) use connection::{ANSWER_MAX, Connection, Login, Result, WireError};
pub(crate) use decode::{Decoded, Decoder};
pub(crate) use fetch::{Fetch, FetchedPart, ListOffsets, Place, Wanted};
pub(crate) use fetched::{Records, Spare};
pub(crate) use produce::{PartitionAnswer, Produce};
#[cfg(test)]
pub(crate) use records::Stamp;
pub(crate) use records::{Compression, Compressor, RecordBatch, Writer as BatchWriter};
pub(crate) use requests::{
    Coordinator, CoordinatorKind, EndTxn, Features, FoundTopic, Identity, InitProducerId, Leader,
    Metadata, TxnOffsetCommit,
};
