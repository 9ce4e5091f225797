//! What Headwater's parts cost, as workloads that are exactly repeatable: the same seeds, the same
//! records, one thread, a manual clock.
//!
//! The same workloads are measured in time by `benches/micro.rs` (criterion) and in instructions by
//! the program `instructions`. The program `growth` asks another question: how the cost of a record
//! grows with keys, partitions, operators and instances.
//!
//! | module | what is measured |
//! |---|---|
//! | [`agents`] | agents that await nothing but their records |
//! | [`chain`] | stateless operators, fused |
//! | [`codecs`] | bytes to values and back |
//! | [`tables`] | counts per key: the overlay, the store in memory, the commit |
//! | [`stores`] | the stores alone, in memory and in RocksDB |
//! | [`windows`] | windowed counts with updates, and windows that close |
//! | [`joins`] | of a stream with a table, and of two streams |
//! | [`end_to_end`] | an application on the embedded log, with its commits |

pub mod agents;
pub mod chain;
pub mod codecs;
mod driver;
pub mod end_to_end;
mod feed;
pub mod joins;
pub mod stores;
pub mod tables;
pub mod windows;
mod workload;

pub use driver::Driver;
pub use feed::{EncodedRecords, RecordFeed};
pub use workload::{Workload, WorkloadKind, all};
