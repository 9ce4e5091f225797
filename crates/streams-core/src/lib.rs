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
pub mod codec;
mod consumed;
mod dsl;
mod due;
mod effect;
mod error;
mod global;
mod intake;
mod limits;
mod moment;
mod operator_state;
mod operators;
mod partitioner;
mod policy;
mod reader;
mod receive;
mod record;
mod record_id;
mod repartition;
mod schedule;
mod state;
mod store;
mod stored_format;
mod stream_clock;
mod table;
mod task;
mod task_context;
mod task_id;
mod task_metrics;
mod tick;
mod topic;
mod topology;
pub mod window;

pub use backoff::Backoff;
pub use builder::Builder;
pub use calls::{Async, Call};
pub use change::Change;
pub use codec::{Codec, CodecError, JsonValue, Natural, NaturalKey};
pub use consumed::{Consumed, Start, StreamSource, TableSource};
pub use dsl::{
    AgentBuilder, Aggregated, BufferFull, Cogrouped, ForeignTable, Grouped, JoinBuffers, Process,
    SentRows, SourceChain, Stream, Suppress, TableGrouped, TableStream, Ticks, WindowAggregated,
    WindowCogrouped, WindowGrouped,
};
pub use effect::{Effect, Effects};
pub use error::{BoxError, BuildError, Cause, Failure, RecordError, StoredError, TaskError};
pub use global::{GlobalSource, GlobalTable, Globals, Row};
pub use limits::{MAX_MESSAGE_BYTES, RecordLimits, TopicLimits, record_bytes};
pub use moment::Moment;
pub use operators::{
    Output, ProcessContext, ProcessError, ProcessRows, ProcessTable, ProcessWindows,
};
pub use partitioner::partition_for;
pub use policy::{ErrorPolicy, Retry};
pub use record::{
    Headers, OwnedBatch, OwnedRecord, RawRecord, Record, RecordBatch, Timestamp, TopicPartition,
};
pub use record_id::RecordId;
pub use repartition::{IntoRepartition, Repartition};
pub use state::changelog::{RestoreError, TableSpec};
pub use store::{Entries, Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName};
pub use table::Table;
pub use task::{InputOffset, LateRecords, Resume, SlowAgent, Step, Task, TaskCommit};
pub use task_context::TaskContext;
pub use task_id::TaskId;
pub use task_metrics::TaskMetrics;
pub use tick::{Missed, Tick};
pub use topic::Topic;
pub use topology::{
    Description, InternalKind, InternalTopic, PartitionCount, Source, SourceKind, SubTopology,
    Topology,
};
pub use window::{Hopping, JoinWindows, Session, Sliding, Tumbling, Windowed, Windows};
