//! The operators, one file each.

mod aggregate;
mod branch;
mod decode;
mod filter;
mod flat_map;
pub(crate) mod foreign_key;
mod look_up;
mod map;
mod map_change;
mod peek;
mod process;
mod regroup;
mod rows;
mod sink;
pub(crate) mod stream_join;
mod suppress;
mod table_join;
mod to_table;
mod window_aggregate;

use crate::cx::Cx;
use crate::error::Failure;
use crate::record::{RawRecord, Timestamp};

pub(crate) use branch::Branch;
pub(crate) use filter::Filter;
pub(crate) use flat_map::{FlatMap, FlatMapValues};
pub(crate) use look_up::LookUp;
pub(crate) use map::{Map, MapValues};
pub(crate) use map_change::MapChange;
pub(crate) use peek::Peek;

pub(crate) use aggregate::{Aggregate, Aggregation};
/// Reading and writing a table's typed entries, for others than the aggregations.
pub(crate) mod table_access {
    pub(crate) use super::aggregate::{
        get_row, key_bytes, read, read_key, set_row, write_key, write_row,
    };
}
pub(crate) use decode::{Decode, TIMESTAMP_MAX, check_timestamp, decode};
pub(crate) use process::{Forward, Processor, Punctuate, Punctuator};
pub use process::{Output, ProcessContext, ProcessError, ProcessTable};
pub(crate) use regroup::Regroup;
pub(crate) use rows::{MappedRows, Rows, StoredRows, WindowRows};
pub(crate) use sink::{Sink, SinkBy};
pub(crate) use suppress::{Finality, Suppress, SuppressBuffer, SuppressedRows, Until};
pub(crate) use table_join::{JoinedRows, LeftChange, RightChange, Sides, TableJoin};
pub(crate) use to_table::{Keep, ToTable};
pub(crate) use window_aggregate::{WindowAggregate, WindowPorts, never_merged};

/// The bytes-in end of a sealed chain: one virtual call per record and stream.
pub(crate) trait ReceiveRaw: Send + Sync {
    fn receive(&self, record: &RawRecord<'_>, cx: &mut Cx) -> Result<(), Failure>;
}

/// What an operator does other than on a record's arrival.
pub(crate) trait Hook: Send + Sync {
    /// The task starts, or starts again after an abort; the clocks stand where they were
    /// committed.
    fn on_resume(&self, _cx: &mut Cx) {}

    /// Before a commit: outputs that are sent once per commit.
    fn on_commit(&self, _cx: &mut Cx) -> Result<(), Failure> {
        Ok(())
    }

    /// Wall-clock time has passed.
    fn on_time(&self, _cx: &mut Cx) -> Result<(), Failure> {
        Ok(())
    }

    /// When [`on_time`](Self::on_time) has something to do, unless a record comes first.
    fn next_wakeup(&self, _cx: &Cx) -> Option<Timestamp> {
        None
    }
}
