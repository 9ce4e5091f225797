//! Transactions by the second protocol (KIP-890), by a small client of our own.
//!
//! There every transaction has an epoch of its own, so a request of an earlier transaction that
//! arrives late is refused: it cannot end, or write into, a later one. That is what librdkafka's
//! protocol cannot promise after a time-out. And a request can be repeated without a doubt.
//!
//! The worker encodes records straight into batches. One thread for each broker sends them, one
//! request at a time, and repeats what was not answered; all requests about the transaction itself
//! are the worker's own.
//!
//! | file | what it is |
//! |---|---|
//! | `error.rs` | what has to be done about an error |
//! | `lane.rs` | the batches of one partition, in order |
//! | `outbox.rs` | what the worker and the senders share: all lanes, and what failed |
//! | `producer.rs` | the transport's [`Producer`](runtime::transport::Producer) |
//! | `sender.rs` | the thread that sends to one broker |
//! | `settings.rs` | the user's properties, as far as this client knows them |
//! | `topics.rs` | which lane a record belongs to |
//! | `transaction.rs` | the requests that begin and end transactions |

mod error;
mod lane;
mod outbox;
mod producer;
mod sender;
mod settings;
mod topics;
mod transaction;

pub(crate) use error::plain;
pub(crate) use producer::V2Producer;
pub(crate) use settings::Settings;
