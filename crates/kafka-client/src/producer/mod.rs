//! Transactions by the protocol of KIP-890.
//!
//! There every transaction has an epoch of its own, so a request of an earlier transaction that
//! arrives late is refused: it cannot end, or write into, a later one. The older protocol cannot
//! promise that after a time-out. And every request can be repeated.
//!
//! The caller encodes records straight into batches. One thread for each broker sends them, one
//! request at a time, and repeats what has no response. The requests about the transaction itself
//! are sent by the caller's thread.
//!
//! | file | what it is |
//! |---|---|
//! | `accumulator.rs` | what the caller and the senders share |
//! | `coordinator.rs` | the requests that begin and end transactions |
//! | `partition_queue.rs` | the batches of one partition, in order |
//! | `sender.rs` | the thread that sends to one broker |
//! | `topics.rs` | which partition a record goes to |
//! | `transactional.rs` | the producer |

mod accumulator;
mod coordinator;
mod partition_queue;
mod sender;
mod topics;
mod transactional;

pub use transactional::{ConsumerGroupMetadata, OffsetToCommit, TransactionalProducer};
