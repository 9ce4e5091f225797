//! Fetching by the client of our own: for the workers, and for reading outside the group.
//!
//! One thread for each broker asks it for records of all partitions that have space for more, and
//! decodes what comes so far that each record can be found. Records then stay where they are until
//! they are decoded by their codecs.
//!
//! | file | what it is |
//! |---|---|
//! | `batch.rs` | some of the records that one answer brought |
//! | `fetcher.rs` | the transport's [`Fetcher`](runtime::transport::Fetcher) |
//! | `intake.rs` | what the threads that fetch share with the one that polls |
//! | `partition.rs` | one partition: where it is read, and what waits |
//! | `puller.rs` | the thread that fetches from one broker |
//! | `finder.rs` | the thread that finds out who leads a partition |
//! | `reader.rs` | the transport's [`Reader`](runtime::transport::Reader) |
//! | `settings.rs` | the user's properties, as far as this client knows them |
//! | `state.rs` | what is known of the partitions that are read |

mod batch;
mod fetcher;
mod finder;
mod intake;
mod partition;
mod puller;
mod reader;
mod settings;
mod state;

pub(crate) use fetcher::{PullFetcher, Share};
pub(crate) use reader::PullReader;
pub(crate) use settings::PullSettings;
