//! Fetching, for consumers and for reading single partitions.
//!
//! One thread for each broker asks it for records of all partitions that have space for more, and
//! decodes what comes only so far that each record can be found. Records stay where they are until
//! the caller has decoded them.
//!
//! | file | what it is |
//! |---|---|
//! | `batch.rs` | some of the records that one response brought |
//! | `broker_fetcher.rs` | the thread that fetches from one broker |
//! | `buffer.rs` | what the threads that fetch share with the one that polls |
//! | `fetcher.rs` | fetches the partitions that were added |
//! | `leader_finder.rs` | the thread that finds the leaders of partitions |
//! | `partition.rs` | one partition: where it is read, and what waits |
//! | `reader.rs` | reads single partitions, and knows their bounds |
//! | `state.rs` | what is known of the partitions that are read |

mod batch;
mod broker_fetcher;
mod buffer;
mod fetcher;
mod leader_finder;
mod partition;
mod reader;
mod state;

pub use batch::FetchedBatch;
pub use fetcher::{ClientFetcher, MemoryShare};
pub use reader::PartitionReader;
pub use state::PartitionProgress;
