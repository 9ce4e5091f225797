//! Batches of records in format 2, as brokers store them and as they go over the network.
//!
//! | file | what it is |
//! |---|---|
//! | `decoder.rs` | batches that came from a broker, without aborted transactions |
//! | `decompress.rs` | what producers may have compressed them with |
//! | `encoder.rs` | batches that go to a broker, compressed with LZ4 |
//! | `fetched.rs` | records that were fetched, where they are in memory |

mod decoder;
mod decompress;
mod encoder;
mod fetched;

pub(crate) use decoder::{DecodedRecords, RecordsDecoder};
pub(crate) use encoder::{BatchBuilder, BatchProducer, Compression, Compressor, EncodedBatch};
pub(crate) use fetched::{BufferPool, FetchedRecords};
