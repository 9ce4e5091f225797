//! Headwater: embedded stream processing. Typed topics, a DSL, agents and tables, exactly once; on
//! Kafka, or on an embedded log with the same program.
//!
//! ```
//! use headwater::prelude::*;
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let words = Topic::<String, String>::new("words");
//! let counts = Topic::<String, u64>::json("counts");
//!
//! let app = Builder::new("word-count");
//! app.stream(&words)
//!     .group_by("by-word", |_, word| word.to_lowercase())
//!     .count(&Table::new("words-seen"))
//!     .to(&counts);
//!
//! let config = Config { broker: "embedded:".to_owned(), ..Config::default() };
//! # let client = headwater::client(&config)?;
//! # client.create_topic("words", 1)?;
//! # client.create_topic("counts", 1)?;
//! let app = App::new(app.build()?, config);
//! app.run(async { /* until Ctrl-C: shutdown_signal().await */ }).await?;
//! # Ok(()) }
//! ```
//!
//! It is not on a registry yet. In `Cargo.toml`, depend on its path or on your repository of it:
//!
//! ```toml
//! [dependencies]
//! headwater = { path = "../headwater" }
//! # Or, with no C or C++ to compile, on the embedded log alone:
//! # headwater = { path = "../headwater", default-features = false, features = ["embedded"] }
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//!
//! [dev-dependencies]
//! headwater-testkit = { path = "../headwater/crates/testkit" }
//! ```
//!
//! The [`guide`] has a [tutorial](guide::tutorial) and explains [concepts](guide::concepts),
//! [time](guide::time), [windows](guide::windows), [joins](guide::joins), [state](guide::state) and
//! [exactly once](guide::exactly_once).
//!
//! | to | start with |
//! |---|---|
//! | describe an application | [`Builder`], [`Stream`], [`Grouped`], [`TableStream`] |
//! | write a processor of your own | [`Stream::process`], [`agent`] |
//! | do something at an interval or by the calendar | [`Builder::every`], [`Builder::cron`] |
//! | run it | [`App`], [`Config`], [`StatusHandle`] |
//! | feed it, and see what came out | [`client`], [`Client`] |
//! | test it | `TopologyTest` and `Simulation` in `headwater-testkit` |

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
