//! The pure core of Headwater: records and time go in, effects come out, tables belong to their
//! task.
//!
//! Nothing in this crate knows a clock, a thread, a socket, a file, a random number or an async
//! runtime. A program is described with a [`Builder`], frozen into a [`Topology`], and run as
//! [`Task`]s, one per sub-topology and partition. The same task runs under Kafka, on the embedded
//! log, in a user's unit test and in a simulation.
//!
//! | module | what it holds |
//! |---|---|
//! | [`codec`] | how types become bytes |
//! | [`agent`] | `async` functions over a partition's records |
//! | [`window`] | windows as arithmetic |
//! | [`chain`] | how operators are fused |

pub mod agent;
mod backoff;
mod builder;
mod calls;
pub mod chain;
mod change;
mod changelog;
pub mod codec;
mod cx;
mod dsl;
mod due;
mod effect;
mod entries;
mod error;
mod global;
mod hashed;
mod hot;
mod layer;
mod limits;
mod moment;
mod operators;
mod order;
mod overlay;
mod partition;
mod policy;
mod reader;
mod record;
mod schedule;
mod store;
mod stored;
mod table;
mod tables;
mod task;
mod tick;
mod topic;
mod topology;
mod unreleased;
pub mod window;

pub use backoff::Backoff;
pub use builder::Builder;
pub use calls::{Async, Call, RecordId};
pub use change::Change;
pub use changelog::{RestoreError, TableSpec};
pub use codec::{Codec, CodecError, JsonValue, Natural, NaturalKey};
pub use cx::Cx;
pub use dsl::{
    Aggregated, BufferFull, Cogrouped, Grouped, JoinBuffers, JoinWindows, Process, SourceChain,
    Stream, Suppress, TableGrouped, TableStream, Ticks, WindowAggregated, WindowCogrouped,
    WindowGrouped,
};
pub use effect::{Effect, Effects};
pub use entries::Entries;
pub use error::{BoxError, BuildError, Cause, Failure, RecordError, TaskError};
pub use global::{GlobalSource, GlobalTable, Globals, Row};
pub use limits::{MAX_MESSAGE_BYTES, RecordLimits, TopicLimits, record_bytes};
pub use moment::Moment;
pub use operators::{
    Output, ProcessContext, ProcessError, ProcessRows, ProcessTable, ProcessWindows,
};
pub use partition::partition_for;
pub use policy::{Consumed, ErrorPolicy, Retry, Start};
pub use record::{
    Headers, OwnedBatch, OwnedRecord, RawRecord, Record, RecordBatch, Timestamp, TopicPartition,
};
pub use store::{Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName};
pub use stored::StoredError;
pub use table::Table;
pub use task::{
    InputOffset, LateRecords, Resume, SlowAgent, Step, Task, TaskCommit, TaskId, TaskMetrics,
};
pub use tick::{Missed, Tick};
pub use topic::Topic;
pub use topology::{
    Description, InternalKind, InternalTopic, PartitionCount, Source, SourceKind, SubTopology,
    Topology,
};
pub use window::{Hopping, Session, Sliding, Tumbling, Windowed, Windows};
