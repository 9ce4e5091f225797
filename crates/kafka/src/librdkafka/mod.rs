//! Fetching by librdkafka: where a property is set that our own client does not know, TLS for
//! example, and where brokers are older than it understands.
//!
//! | file | what it is |
//! |---|---|
//! | `batch.rs` | fetched messages as a batch of records |
//! | `fetcher.rs` | the transport's [`Fetcher`](runtime::transport::Fetcher) |
//! | `queue.rs` | queues of messages, and messages |
//! | `reader.rs` | the transport's [`Reader`](runtime::transport::Reader) |

mod batch;
mod fetcher;
mod queue;
mod reader;

pub(crate) use fetcher::KafkaFetcher;
pub(crate) use queue::{Queue, millis};
pub(crate) use reader::KafkaReader;
