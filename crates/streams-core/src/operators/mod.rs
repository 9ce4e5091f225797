//! The operators that have tables, and what begins and ends chains, one file or folder each. The
//! operators without tables are in `dsl/stateless`, beside their methods.

mod aggregate;
mod decode;
mod expiring;
pub(crate) mod foreign_key;
mod map_change;
mod process;
mod process_table;
mod regroup;
mod rows;
mod sink;
pub(crate) mod stream_join;
pub(crate) mod suppress;
mod table_join;
pub(crate) mod table_rows;
mod to_table;
mod window_aggregate;

use crate::due::Pass;
use crate::error::Failure;
use crate::record::{RawRecord, Timestamp};
use crate::state::tables::TableIndex;
use crate::stream_clock::ClockIndex;
use crate::task_context::TaskContext;

pub(crate) use aggregate::{Aggregate, Aggregation};
pub(crate) use decode::{
    Decode, TIMESTAMP_MAX, check_timestamp, decode, event_time, is_acceptable,
};
pub(crate) use expiring::{Expiring, Tell, tells};
pub(crate) use map_change::MapChange;
pub(crate) use process::{Forward, Processor, Punctuate, Punctuator};
pub use process::{Output, ProcessContext, ProcessError};
pub(crate) use process_table::DeclaredTable;
pub use process_table::{ProcessRows, ProcessTable, ProcessWindows};
pub(crate) use regroup::Regroup;
pub(crate) use rows::{MappedRows, Rows, StoredRows, WindowRows};
pub(crate) use sink::{Sink, SinkBy};
pub(crate) use suppress::Finality;
pub(crate) use table_join::{JoinedRows, LeftChange, RightChange, Sides, TableJoin};
pub(crate) use to_table::{Keep, MaterializedTable, ToTable};
pub(crate) use window_aggregate::{
    Sibling, WindowAggregate, WindowPorts, WindowTimes, never_merged,
};

/// The bytes-in end of a sealed chain: one virtual call per record and stream.
pub(crate) trait ReceiveRaw: Send + Sync {
    fn receive(&self, record: &RawRecord<'_>, cx: &mut TaskContext) -> Result<(), Failure>;

    /// The time that its timestamp extractor finds in the record.
    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp>;

    /// Whether it has a timestamp extractor.
    fn extracts_times(&self) -> bool;
}

/// The progress of closing the windows of a table.
pub(crate) struct Closing {
    pub(crate) clock: ClockIndex,
    pub(crate) table: TableIndex,
    pub(crate) pass: Pass,
}

/// What an operator does besides receiving records.
pub(crate) trait Hook: Send + Sync {
    /// Called when the task starts, or restarts after an abort. The clocks have the committed
    /// times, the operators' states are new. `unfinished` has the [progress](Self::closing) that
    /// was committed, by clock.
    fn on_resume(&self, _unfinished: &[(ClockIndex, Pass)], _cx: &mut TaskContext) {}

    /// Called before a commit, to send outputs that are sent once per commit.
    fn on_commit(&self, _cx: &mut TaskContext) -> Result<(), Failure> {
        Ok(())
    }

    /// Called when time has passed.
    fn on_time(&self, _cx: &mut TaskContext) -> Result<(), Failure> {
        Ok(())
    }

    /// Called when records have made more work due than they could do themselves. Does another
    /// portion of it, as [`TaskContext::takes_one`] allows, or nothing if nothing is due.
    fn on_due(&self, _cx: &mut TaskContext) -> Result<(), Failure> {
        Ok(())
    }

    /// Returns the progress, if it has not finished closing windows that stay in their table.
    fn closing(&self, _cx: &TaskContext) -> Option<Closing> {
        None
    }

    /// Whether it does something when the task has been idle for a while.
    fn minds_idleness(&self) -> bool {
        false
    }

    /// When [`on_time`](Self::on_time) next has something to do if no record arrives, on the
    /// monotonic clock.
    fn next_wakeup(&self, _cx: &TaskContext) -> Option<Timestamp> {
        None
    }
}
