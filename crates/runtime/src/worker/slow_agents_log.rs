//! Logs agents that take long for a record. Nothing else waits for them, so they would go
//! unnoticed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{SlowAgent, Task, TopicPartition};

/// How long a record may take before it is logged.
const SLOW: Duration = Duration::from_secs(30);

/// The records that were logged and still take long.
#[derive(Default)]
pub(super) struct SlowAgentsLog(BTreeSet<SlowRecord>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SlowRecord {
    agent: Arc<str>,
    partition: TopicPartition,
    offset: i64,
}

impl SlowAgentsLog {
    /// Logs each slow record once.
    pub(super) fn log<'t>(&mut self, tasks: impl Iterator<Item = &'t Task>) {
        let mut slow = BTreeSet::new();
        for SlowAgent { agent, partition, offset, since } in
            tasks.flat_map(|task| task.slow_agents(SLOW))
        {
            let record = SlowRecord { agent, partition, offset };
            if !self.0.contains(&record) {
                tracing::warn!(
                    agent = %record.agent,
                    topic = %record.partition.topic,
                    partition = record.partition.partition,
                    offset,
                    seconds = since.as_secs(),
                    "an agent has not asked for another record for a while; its other records wait"
                );
            }
            slow.insert(record);
        }
        self.0 = slow;
    }
}
