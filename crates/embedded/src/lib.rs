//! An in-process partitioned log with consumer groups and transactions: Headwater's transport
//! without Kafka.
//!
//! [`EmbeddedLog`] behaves like Kafka wherever a program can tell the difference: offsets, commit
//! markers, read_committed, fencing by epoch and generation, cooperative rebalancing, compaction.
//! In memory it needs no setup. In a directory, what was acknowledged survives `kill -9` and power
//! loss.
//!
//! It has no threads. Members, transactions and records expire inside the calls of its clients.
//! Under a [`ManualClock`](runtime::ManualClock) no call ever waits, so that one thread can drive a
//! whole cluster of workers with the same result each time.
//!
//! A log on disk is verified when it is opened and when it is read. A damaged log is refused, or
//! opened without the damaged part ([`Damaged`]).
//!
//! ```
//! use headwater_embedded::EmbeddedLog;
//! use headwater::spi::transport::{NewTopic, Transport};
//! use std::time::Duration;
//! let log = EmbeddedLog::in_memory();
//! let orders = NewTopic {
//!     name: "orders".into(),
//!     partitions: 4,
//!     replication: None,
//!     config: vec![],
//! };
//! log.admin()?.create(&orders, Duration::ZERO)?;
//! # Ok::<_, headwater::spi::transport::TransportError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aborted;
mod admin;
mod chunk;
mod clock;
mod compaction;
mod cursor;
mod damage;
mod disk;
mod error;
mod fetcher;
mod group;
mod lock;
mod log;
mod maintenance;
mod member;
mod partition;
mod producer;
mod reader;
mod shared;
mod slices;
mod state;
mod topic;
mod transaction;
mod unflushed;

pub use clock::{LogClock, SystemLogClock};
pub use damage::{Damaged, LeftOut, Verify};
pub use log::{EmbeddedLog, LogOptions};
