//! The operators, one file each.

mod aggregate;
mod branch;
mod decode;
mod filter;
mod flat_map;
mod map;
mod peek;
mod sink;
mod window_aggregate;

use crate::cx::Cx;
use crate::error::Failure;
use crate::record::{RawRecord, Timestamp};

pub(crate) use branch::Branch;
pub(crate) use filter::Filter;
pub(crate) use flat_map::{FlatMap, FlatMapValues};
pub(crate) use map::{Map, MapValues};
pub(crate) use peek::Peek;

pub(crate) use aggregate::{Aggregate, Aggregation};
/// Reading and writing a table's typed entries, for others than the aggregations.
pub(crate) mod table_access {
    pub(crate) use super::aggregate::{put, read, write_key};
}
pub(crate) use decode::{Decode, check_timestamp, decode};
pub(crate) use sink::{Sink, SinkBy};
pub(crate) use window_aggregate::{WindowAggregate, WindowPorts};

/// The bytes-in end of a sealed chain: one virtual call per record and stream.
pub(crate) trait ReceiveRaw: Send + Sync {
    fn receive(&self, record: &RawRecord<'_>, cx: &mut Cx) -> Result<(), Failure>;
}

/// What an operator does other than on a record's arrival.
pub(crate) trait Hook: Send + Sync {
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
