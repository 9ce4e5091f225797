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

pub use runtime::{
    AppError, AppState, ByteSize, Client, ClientError, CommitCounters, Config, ConfigError,
    GlobalState, GlobalStatus, Guarantee, InputStatus, KafkaProperties, MemoryStatus, MissingTopic,
    MissingTopics, ReadFrom, ReadRecord, RecordMetadata, RecordWriter, Status, StatusHandle,
    TableStorage, TaskCounters, TaskIdle, TaskState, TaskStatus, TopicReader, TopologyChanges,
    Transactions, shutdown_signal,
};
pub use streams_core::{
    Aggregated, Async, Backoff, BoxError, BufferFull, BuildError, Builder, Call, Cause, Change,
    Codec, CodecError, Cogrouped, Consumed, Description, ErrorPolicy, Failure, GlobalTable,
    Grouped, Headers, Hopping, JoinBuffers, JoinWindows, JsonValue, Missed, Natural, NaturalKey,
    Output, Process, ProcessContext, ProcessError, ProcessRows, ProcessTable, ProcessWindows,
    Record, RecordError, RecordId, Retry, Session, Sliding, Start, Stream, Suppress, Table,
    TableGrouped, TableStream, TaskContext, TaskId, Tick, Ticks, Timestamp, Topic, TopicPartition,
    Topology, Tumbling, WindowAggregated, WindowCogrouped, WindowGrouped, Windowed, Windows, chain,
    partition_for, window,
};

/// Agents: `async` functions over the records of one partition.
pub mod agent {
    pub use streams_core::AgentBuilder;
    pub use streams_core::agent::*;
}

/// How keys and values become bytes, and back.
pub mod codec {
    pub use streams_core::codec::*;
    pub use streams_core::window::{SessionWindowed, TimeWindowed};
}

#[cfg(feature = "failpoints")]
pub use runtime::FAILPOINTS;

/// The seams: what a transport or a store of one's own implements.
pub mod spi {
    pub use runtime::transport;
    pub use streams_core::{
        Entries, OwnedBatch, OwnedRecord, RawRecord, RecordBatch, Store, StoreBatch, StoreError,
        StoreProvider, TableBatch, TableName,
    };
}

/// What most programs need.
pub mod prelude {
    pub use crate::agent::{AgentResult, Context, Records};
    pub use crate::chain::Chain;
    pub use crate::{
        App, Backoff, Builder, Client, Config, Consumed, ErrorPolicy, Guarantee, Hopping,
        JoinBuffers, JoinWindows, Missed, Record, Session, Sliding, Start, Stream, Suppress, Table,
        TableStream, Tick, Topic, Topology, Tumbling, Windowed, shutdown_signal,
    };
}
