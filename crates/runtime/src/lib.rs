//! Drives Headwater topologies: group membership, restore, workers, exactly-once commits.
//!
//! An instance has one group member, some restorers and some workers. Each is a struct whose `turn`
//! does what there is to do, through the traits of [`transport`], a store and a [`Clock`]. In
//! production each has a thread. They know each other's messages only (`messages`).
//!
//! Everything that an instance's threads log with `tracing` is inside the span `headwater`, with
//! the fields `app` and `thread` (`member`, `restorer`, `worker`, `globals`). Events have stable
//! fields: `app`, `instance`, `task`, `worker`, `topic`, `partition`, `offset`, `error`, `reason`.

mod app;
mod assignment;
mod client;
mod clock;
mod config;
mod error;
mod failpoint;
mod globals;
mod instance;
mod lease;
mod local_state;
pub mod manual;
mod member;
mod messages;
mod repartition_purge;
mod restore;
mod retry;
mod status;
mod stores;
mod threads;
mod topics;
pub mod transport;
mod worker;

pub use app::{App, shutdown_signal};
pub use client::{
    Client, ClientError, ReadFrom, ReadRecord, RecordMetadata, RecordWriter, TopicReader,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{
    ByteSize, Config, ConfigError, Guarantee, KafkaProperties, TableStorage, TaskIdle,
    TopologyChanges, Transactions,
};
pub use error::{AppError, MissingTopic, MissingTopics};
#[cfg(feature = "failpoints")]
pub use failpoint::FAILPOINTS;
pub use status::{
    AppState, CommitCounters, GlobalState, GlobalStatus, InputStatus, MemoryStatus, Status,
    StatusHandle, TaskCounters, TaskState, TaskStatus,
};
