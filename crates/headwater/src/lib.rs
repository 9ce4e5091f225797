//! Embedded stream processing: typed topics, a DSL, async agents and tables, exactly once. The same
//! program runs on Kafka and on a log inside your process.
//!
//! # A whole program
//!
//! It counts words. Paste it into a new crate and run it:
//!
//! ```
//! use std::time::Duration;
//!
//! use headwater::prelude::*;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let words = Topic::<String, String>::new("words");
//!     let counts = Topic::<String, u64>::json("counts");
//!
//!     // Describe: nothing runs yet.
//!     let app = Builder::new("word-count");
//!     app.stream(&words)
//!         .group_by("by-word", |_, word| word.to_lowercase())
//!         .count(&Table::new("words-seen"))
//!         .to(&counts);
//!     let topology = app.build()?;
//!
//!     // Run: on a log in this process. `kafka://host:port` is a cluster.
//!     let config = Config { broker: "embedded:".to_owned(), ..Config::default() };
//!     let client = headwater::client(&config)?;
//!     client.create_topic("words", 4)?;
//!     client.create_topic("counts", 4)?;
//!     let app = App::new(topology, config);
//!     let running = tokio::spawn(app.run(tokio::time::sleep(Duration::from_secs(2))));
//!
//!     // Feed it, and see what came out.
//!     let mut writer = client.writer()?;
//!     for (second, word) in "To be or not to be".split(' ').enumerate() {
//!         writer.send(&words, &"hamlet".to_owned(), &word.to_owned(), second as i64 * 1000)?;
//!     }
//!     writer.flush()?;
//!
//!     running.await??;
//!     let counted = client.reader(&counts)?.read_to_end()?;
//!     assert_eq!(counted.len(), 6);
//!     Ok(())
//! }
//! ```
//!
//! Headwater is not on a registry yet. Depend on its path, or on your repository of it:
//!
//! ```toml
//! [dependencies]
//! headwater = { path = "../headwater/crates/headwater" }
//! # For the embedded log alone, with no C or C++ to compile, add to it:
//! # default-features = false, features = ["embedded"]
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }
//!
//! [dev-dependencies]
//! headwater-testkit = { path = "../headwater/crates/testkit" }
//! ```
//!
//! # Concepts
//!
//! * A [`Topic`] is a name with the types of its keys and values. Codecs turn them into bytes.
//! * A [`Builder`] describes an application: streams of records, operators, tables, agents. Its
//!   `build()` checks the description and returns a [`Topology`].
//! * A topology runs as one *task* for each partition of its inputs. A task has its own part of
//!   each table. Start the program several times, and the tasks are shared among the instances.
//! * A *commit* is one transaction with everything a task has done: outputs, table changes and
//!   input offsets. So each record has its effects exactly once, whatever crashes.
//! * A [`Table`] is kept in memory or in RocksDB, with a changelog in the log. An instance that
//!   takes over a task restores its tables from there.
//! * *Event time* is the time in the records. It decides which window a record belongs to and when
//!   a window is complete.
//!
//! The [`guide`] explains each of them: start with the [tutorial](guide::tutorial) or with
//! [concepts](guide::concepts).
//!
//! # Where to go next
//!
//! | to | see |
//! |---|---|
//! | read and write topics, set how they are consumed | [`topics`], [`codec`] |
//! | map, filter, group, repartition; write a processor | [`streams`] |
//! | count and sum by time | [`windows`], [`guide::windows`] |
//! | join streams and tables | [`joins`], [`guide::joins`] |
//! | keep state | [`tables`], [`guide::state`] |
//! | call services, write `async` functions | [`agents`], [`guide::async_work`] |
//! | do something at an interval or by the calendar | [`Builder::every`], [`Builder::cron`] |
//! | decide what happens to bad records | [`errors`], [`guide::retries`] |
//! | configure and watch an application | [`config`], [`status`] |
//! | create, feed and read topics from outside | [`client()`], [`mod@client`] |
//! | test without a broker | `TopologyTest` and `Simulation` in the crate `headwater-testkit` |
//! | write an operator, a store or a transport | [`operators`], [`spi`] |
//! | come from Kafka Streams or Faust | [`guide::coming_from`] |

mod app;
mod connect;
pub mod guide;

pub use app::App;
pub use connect::{client, connect};

pub use runtime::{Config, shutdown_signal};
pub use streams_core::{Builder, Record, Stream, Table, Topic, Topology};

/// Topics and what is in them: records, and how a topic is consumed.
pub mod topics {
    pub use streams_core::{
        Consumed, Headers, Record, RecordId, Start, StreamSource, TableSource, Timestamp, Topic,
        TopicPartition, partition_for,
    };
}

/// Streams: the description of an application, groupings, processors, ticks.
pub mod streams {
    pub use streams_core::{
        Aggregated, Builder, Cogrouped, Description, Grouped, IntoRepartition, Missed, Output,
        Process, ProcessContext, ProcessError, ProcessRows, ProcessTable, ProcessWindows,
        Repartition, Stream, TaskId, Tick, Ticks, Topology,
    };
}

/// Windows: tumbling, hopping, sliding, sessions, and those that you define.
pub mod windows {
    pub use streams_core::window::{
        Base, Hopping, Naming, Near, Plan, Session, Sliding, Tumbling, Unmerged, Window,
        WindowStep, Windowed, Windows,
    };
    pub use streams_core::{WindowAggregated, WindowCogrouped, WindowGrouped};
}

/// What joins take: their windows, their buffers, the right side of a foreign key.
pub mod joins {
    pub use streams_core::{ForeignTable, JoinBuffers, JoinWindows, SentRows};
}

/// Tables: rows by key that change, kept under a name or derived.
pub mod tables {
    pub use streams_core::{
        BufferFull, Change, GlobalTable, Suppress, Table, TableGrouped, TableStream,
    };
}

/// Agents and calls: `async` functions over the records of one partition.
pub mod agents {
    pub use streams_core::agent::*;
    pub use streams_core::{AgentBuilder, Async, Call};
}

/// How keys and values become bytes, and back.
pub mod codec {
    pub use streams_core::codec::*;
    pub use streams_core::window::{SessionWindowed, TimeWindowed};
}

/// What goes wrong, and what is done about it.
pub mod errors {
    pub use runtime::{AppError, ClientError, ConfigError, MissingTopic, MissingTopics};
    pub use streams_core::{
        Backoff, BoxError, BuildError, Cause, ErrorPolicy, Failure, RecordError, Retry,
    };
}

/// How an application runs: guarantee, memory, time-outs, where its tables are.
pub mod config {
    pub use runtime::{
        ByteSize, Config, Guarantee, KafkaProperties, TableStorage, TaskIdle, TopologyChanges,
        Transactions,
    };
}

/// What a running application says of itself.
pub mod status {
    pub use runtime::{
        AppState, CommitCounters, GlobalState, GlobalStatus, InputStatus, MemoryStatus, Status,
        StatusHandle, TaskCounters, TaskState, TaskStatus,
    };
}

/// Reading, writing and creating topics outside of an application.
pub mod client {
    pub use runtime::{Client, ReadFrom, ReadRecord, RecordMetadata, RecordWriter, TopicReader};
}

/// Operators of your own: how they receive records and hand them on.
pub mod operators {
    pub use streams_core::TaskContext;
    pub use streams_core::chain::*;
}

#[cfg(feature = "failpoints")]
pub use runtime::FAILPOINTS;

/// Extension points: the traits of a transport or a store.
pub mod spi {
    pub use runtime::transport;
    pub use streams_core::{
        Entries, OwnedBatch, OwnedRecord, RawRecord, RecordBatch, Store, StoreBatch, StoreError,
        StoreProvider, TableBatch, TableName,
    };
}

/// What most programs need.
pub mod prelude {
    pub use crate::agents::{AgentResult, Context, Records};
    pub use crate::client::Client;
    pub use crate::config::Guarantee;
    pub use crate::errors::{Backoff, ErrorPolicy};
    pub use crate::joins::{JoinBuffers, JoinWindows};
    pub use crate::operators::Chain;
    pub use crate::streams::{Missed, Repartition, Tick};
    pub use crate::tables::{Suppress, TableStream};
    pub use crate::topics::{Consumed, Start};
    pub use crate::windows::{Hopping, Session, Sliding, Tumbling, Windowed};
    pub use crate::{
        App, Builder, Config, Record, Stream, Table, Topic, Topology, shutdown_signal,
    };
}
