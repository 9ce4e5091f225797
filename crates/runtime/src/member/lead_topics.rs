//! Lead topics: which task a partition identifies, and what belongs to the task.

use std::collections::BTreeMap;
use std::sync::Arc;

use streams_core::{SubTopology, TaskId, TaskMetrics, TopicPartition, Topology};

use crate::assignment::{AssignedTable, Assignment, TaskThreads};
use crate::lease::Lease;
use crate::topics::{TopicMetadata, lead_topic};

/// The lead topic of each sub-topology: the group assigns its partitions, and those of the other
/// sources follow.
pub(crate) struct LeadTopics {
    topology: Arc<Topology>,
    /// The sub-topology that each topic leads.
    leads: BTreeMap<Arc<str>, usize>,
    /// Partitions of the lead topics that must not grow, because state is kept for each partition,
    /// or other topics are consumed with it.
    fixed: BTreeMap<Arc<str>, i32>,
}

impl LeadTopics {
    pub(crate) fn new(topology: &Arc<Topology>, metadata: &TopicMetadata) -> Self {
        let mut leads = BTreeMap::new();
        let mut fixed = BTreeMap::new();
        for sub in topology.sub_topologies() {
            let Some(lead) = lead_topic(sub, metadata) else { continue };
            leads.insert(Arc::clone(lead), sub.id());
        }
        for (lead, sub) in &leads {
            let is_fixed = is_fixed(&topology.sub_topologies()[*sub]);
            let partitions = metadata.partitions(lead).filter(|_| is_fixed);
            fixed.extend(partitions.map(|partitions| (Arc::clone(lead), partitions)));
        }
        Self { topology: Arc::clone(topology), leads, fixed }
    }

    /// How many partitions a lead topic had at the start, if this one was added since and must not
    /// be processed.
    pub(crate) fn outgrown(&self, lead: &TopicPartition) -> Option<i32> {
        self.fixed.get(&lead.topic).copied().filter(|partitions| lead.partition >= *partitions)
    }

    /// The topics to subscribe to.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.leads.keys().cloned().collect()
    }

    pub(crate) fn task_of(&self, lead: &TopicPartition) -> Option<TaskId> {
        let sub_topology = *self.leads.get(&lead.topic)?;
        Some(TaskId { sub_topology, partition: lead.partition })
    }

    /// The partitions of a task's inputs, in the order of its sub-topology's sources.
    pub(crate) fn inputs(&self, task: TaskId) -> Vec<TopicPartition> {
        let sources = self.topology.sub_topologies()[task.sub_topology].sources().iter();
        sources.map(|source| partition_of(&source.topic, task)).collect()
    }

    pub(crate) fn assignment(
        &self,
        task: TaskId,
        threads: TaskThreads,
        lease: Arc<Lease>,
    ) -> Assignment {
        let sub = &self.topology.sub_topologies()[task.sub_topology];
        let tables = sub.tables().iter().map(|table| AssignedTable {
            name: Arc::clone(table.name()),
            changelog: partition_of(table.changelog(), task),
        });
        // Named after the lead topic, and not after the sub-topology's number, which changes when
        // the topology grows.
        let lead = self.leads.iter().find(|(_, sub)| **sub == task.sub_topology);
        let store = lead.map_or_else(|| task.to_string(), |(topic, _)| topic.to_string());
        Assignment {
            task,
            inputs: self.inputs(task),
            tables: tables.collect(),
            store_name: format!("{store}-{}", task.partition).into(),
            threads,
            lease,
            carried: TaskMetrics::default(),
        }
    }
}

/// A task's partition of a topic: the one with the task's own number.
fn partition_of(topic: &Arc<str>, task: TaskId) -> TopicPartition {
    TopicPartition::new(Arc::clone(topic), task.partition)
}

fn is_fixed(sub: &SubTopology) -> bool {
    !sub.tables().is_empty() || sub.sources().len() > 1
}
