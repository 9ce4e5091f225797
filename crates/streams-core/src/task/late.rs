//! Records that were too late, for the log.

use std::fmt;
use std::sync::Arc;

use super::Task;
use crate::record::Timestamp;

/// Records that a task dropped because they were too late for every window, and the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LateRecords {
    /// The number of records.
    pub records: u64,
    /// The windowed table that the last one was too late for.
    pub table: Arc<str>,
    /// The topic that it came from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds.
    pub timestamp: Timestamp,
    /// The table's stream time at that moment: the highest timestamp that it had seen.
    pub stream_time: Timestamp,
}

impl fmt::Display for LateRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, table, topic, partition, offset, timestamp, stream_time } = self;
        let behind = stream_time.saturating_sub(*timestamp);
        write!(
            f,
            "{records} too late for the windows of {table}; the last one was at \
             {topic}-{partition} offset {offset}, with the timestamp {timestamp}, {behind} ms \
             behind the stream time {stream_time}"
        )
    }
}

impl Task {
    /// Returns the records that were too late since the last call. They are also counted in the
    /// [metrics](Task::metrics).
    pub fn take_late(&mut self) -> Option<LateRecords> {
        let late = self.cx_mut().late.take()?;
        let source = self.sub_topology().sources.get(late.origin.input as usize)?;
        Some(LateRecords {
            records: late.records,
            table: late.table,
            topic: Arc::clone(&source.topic),
            partition: self.id.partition,
            offset: late.origin.offset,
            timestamp: late.timestamp,
            stream_time: late.stream_time,
        })
    }
}
