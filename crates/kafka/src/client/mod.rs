//! The transport over our own client: fetching, and transactions by the protocol of KIP-890.
//!
//! Nothing is copied here: a batch of the client is a batch of the transport, and a record to send
//! is borrowed on.
//!
//! | file | what it is |
//! |---|---|
//! | `batch.rs` | fetched records as a batch of the transport |
//! | `convert.rs` | names of partitions, and errors |
//! | `fetcher.rs` | the transport's [`Fetcher`](runtime::transport::Fetcher) |
//! | `producer.rs` | the transport's [`Producer`](runtime::transport::Producer) |
//! | `reader.rs` | the transport's [`Reader`](runtime::transport::Reader) |

mod batch;
mod convert;
mod fetcher;
mod producer;
mod reader;

pub(crate) use convert::error;
pub(crate) use fetcher::OwnFetcher;
pub(crate) use producer::OwnProducer;
pub(crate) use reader::OwnReader;
