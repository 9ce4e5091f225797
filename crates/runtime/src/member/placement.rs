//! Which task a partition stands for, and what belongs to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use streams_core::{TaskId, TaskMetrics, TopicPartition, Topology};

use crate::lease::{Assignment, Lease};
use crate::topics::{Layout, lead_topic};

/// The lead topic of each sub-topology: the group shares out its partitions, the other sources
/// follow.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    leads: BTreeMap<Arc<str>, usize>,
}

impl Placement {
    pub(crate) fn new(topology: &Topology, layout: &Layout) -> Self {
        let subs = topology.sub_topologies().iter();
        let leads = subs.filter_map(|sub| Some((Arc::clone(lead_topic(sub, layout)?), sub.id())));
        Self { leads: leads.collect() }
    }

    /// The topics to subscribe to.
    pub(crate) fn lead_topics(&self) -> Vec<Arc<str>> {
        self.leads.keys().cloned().collect()
    }

    pub(crate) fn task_of(&self, lead: &TopicPartition) -> Option<TaskId> {
        let sub_topology = *self.leads.get(&lead.topic)?;
        Some(TaskId { sub_topology, partition: lead.partition })
    }

    /// The partitions of a task's inputs, in the order of its sub-topology's sources.
    pub(crate) fn partitions(&self, topology: &Topology, task: TaskId) -> Vec<TopicPartition> {
        let sources = topology.sub_topologies()[task.sub_topology].sources().iter();
        let at = |topic: &Arc<str>| TopicPartition::new(Arc::clone(topic), task.partition);
        sources.map(|source| at(&source.topic)).collect()
    }

    pub(crate) fn assignment(
        &self,
        topology: &Topology,
        task: TaskId,
        worker: usize,
        lease: Arc<Lease>,
    ) -> Assignment {
        let sub = &topology.sub_topologies()[task.sub_topology];
        let at = |topic: &Arc<str>| TopicPartition::new(Arc::clone(topic), task.partition);
        // The lead topic names the store: unlike a sub-topology's number it stays when the topology
        // grows.
        let lead = self.leads.iter().find(|(_, sub)| **sub == task.sub_topology);
        let store = lead.map_or_else(|| task.to_string(), |(topic, _)| topic.to_string());
        Assignment {
            task,
            partitions: self.partitions(topology, task),
            changelogs: sub.tables().iter().map(|table| at(table.changelog())).collect(),
            store_name: format!("{store}-{}", task.partition).into(),
            worker,
            lease,
            carried: TaskMetrics::default(),
        }
    }
}
