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
//! It is not on a registry yet. In `Cargo.toml`, use the path or repository of your copy:
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
//! | to | begin with |
//! |---|---|
//! | describe an application | [`Builder`], [`Stream`], [`Grouped`], [`TableStream`] |
//! | write a processor of your own | [`Stream::process`], [`agent`] |
//! | do something at an interval or by the calendar | [`Builder::every`], [`Builder::cron`] |
//! | run it | [`App`], [`Config`], [`StatusHandle`] |
//! | feed it, and see what came out | [`client`], [`Client`] |
//! | test it | `TopologyTest` and `Simulation` in `headwater-testkit` |

mod app;
mod connect;

pub use app::App;
pub use connect::{client, connect};

pub use runtime::{
    AppError, AppState, ByteSize, Client, ClientError, CommitCounters, Config, ConfigError,
    Delivered, GlobalState, GlobalStatus, Guarantee, InputStatus, KafkaProperties, MemoryStatus,
    MissingTopic, MissingTopics, ReadFrom, ReadRecord, Status, StatusHandle, Tables, TaskCounters,
    TaskIdle, TaskState, TaskStatus, TopicReader, TopologyChanges, Transactions, Writer,
    shutdown_signal,
};
pub use streams_core::{
    Aggregated, Async, Backoff, BoxError, BufferFull, BuildError, Builder, Call, Cause, Change,
    Codec, CodecError, Cogrouped, Consumed, Cx, Description, ErrorPolicy, Failure, GlobalTable,
    Grouped, Headers, Hopping, JoinBuffers, JoinWindows, JsonValue, Missed, Natural, NaturalKey,
    Output, Process, ProcessContext, ProcessError, ProcessRows, ProcessTable, ProcessWindows,
    Record, RecordError, RecordId, Retry, Session, Sliding, Start, Stream, Suppress, Table,
    TableGrouped, TableStream, TaskId, Tick, Ticks, Timestamp, Topic, TopicPartition, Topology,
    Tumbling, WindowAggregated, WindowCogrouped, WindowGrouped, Windowed, Windows, agent, chain,
    codec, partition_for, window,
};

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

/// The names that most programs need.
pub mod prelude {
    pub use crate::agent::{AgentResult, Context, Records};
    pub use crate::chain::Chain;
    pub use crate::{
        App, Backoff, Builder, Client, Config, Consumed, ErrorPolicy, Guarantee, Hopping,
        JoinBuffers, JoinWindows, Missed, Record, Session, Sliding, Start, Stream, Suppress, Table,
        TableStream, Tick, Topic, Topology, Tumbling, Windowed, shutdown_signal,
    };
}
