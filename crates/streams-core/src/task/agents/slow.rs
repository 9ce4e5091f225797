//! Agents that take long for a record.

use std::sync::Arc;
use std::time::Duration;

use crate::record::TopicPartition;
use crate::task::Task;

/// A record that an agent has been processing for a while; see [`Task::slow_agents`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowAgent {
    /// The agent's name.
    pub agent: Arc<str>,
    /// The record's partition; for a batch, that of its first record.
    pub partition: TopicPartition,
    /// The record's offset; for a batch, that of its first record.
    pub offset: i64,
    /// How long it has been processing it.
    pub since: Duration,
}

impl Task {
    /// Returns the agents that have been processing a record for at least this long.
    pub fn slow_agents(&self, at_least: Duration) -> Vec<SlowAgent> {
        let mut slow = Vec::new();
        for (input, source) in self.inputs.iter().zip(&self.sub_topology().sources) {
            for (slot, runner) in input.agents.iter().zip(&source.agents) {
                let Some(first) = slot.pending.front() else { continue };
                let Some(began) = slot.running.busy_since() else { continue };
                let taken = u64::try_from(self.cx().elapsed - began).unwrap_or(0);
                let since = Duration::from_millis(taken);
                if since >= at_least {
                    slow.push(SlowAgent {
                        agent: Arc::clone(runner.name()),
                        partition: TopicPartition::new(
                            Arc::clone(&source.topic),
                            self.id.partition,
                        ),
                        offset: first.record.offset,
                        since,
                    });
                }
            }
        }
        slow
    }
}
