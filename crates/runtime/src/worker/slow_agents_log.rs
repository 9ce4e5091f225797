//! What a worker says about agents that take long for a record: nothing else waits for them, so
//! nobody would notice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{SlowAgent, Task, TopicPartition};

/// How long a record may take before it is said.
const SLOW: Duration = Duration::from_secs(30);

/// The records that were said to take long, and do still.
#[derive(Default)]
pub(crate) struct SlowAgentsLog(BTreeSet<(Arc<str>, TopicPartition, i64)>);

impl SlowAgentsLog {
    /// Says it once for each record.
    pub(crate) fn say<'t>(&mut self, tasks: impl Iterator<Item = &'t Task>) {
        let mut slow = BTreeSet::new();
        for SlowAgent { agent, partition, offset, since } in
            tasks.flat_map(|task| task.slow_agents(SLOW))
        {
            let record = (agent, partition, offset);
            if !self.0.contains(&record) {
                tracing::warn!(
                    agent = %record.0,
                    topic = %record.1.topic,
                    partition = record.1.partition,
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
