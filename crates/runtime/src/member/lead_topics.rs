//! Which task a partition stands for, and what belongs to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use streams_core::{TaskId, TaskMetrics, TopicPartition, Topology};

use crate::lease::{Assignment, Lease, Place};
use crate::topics::{TopicMetadata, lead_topic};

/// The lead topic of each sub-topology: the group shares out its partitions, the other sources
/// follow.
#[derive(Clone, Debug)]
pub(crate) struct LeadTopics {
    leads: BTreeMap<Arc<str>, usize>,
    /// How many partitions the lead topics have that must not grow, because something is kept for
    /// each partition or others are consumed with it.
    fixed: BTreeMap<Arc<str>, i32>,
}

impl LeadTopics {
    pub(crate) fn new(topology: &Topology, layout: &TopicMetadata) -> Self {
        let subs = topology.sub_topologies().iter();
        let leads = subs.filter_map(|sub| Some((Arc::clone(lead_topic(sub, layout)?), sub.id())));
        let leads: BTreeMap<_, _> = leads.collect();
        let is_fixed = |id: usize| {
            let sub = &topology.sub_topologies()[id];
            !sub.tables().is_empty() || sub.sources().len() > 1
        };
        let fixed = leads.iter().filter(|(_, sub)| is_fixed(**sub));
        let fixed = fixed.filter_map(|(lead, _)| {
            let partitions = layout.partitions(lead)?;
            Some((Arc::clone(lead), partitions))
        });
        let fixed = fixed.collect();
        Self { leads, fixed }
    }

    /// How many partitions a lead topic had, if this one is beyond and must not be there.
    pub(crate) fn outgrown(&self, lead: &TopicPartition) -> Option<i32> {
        self.fixed.get(&lead.topic).copied().filter(|partitions| lead.partition >= *partitions)
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
        place: Place,
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
            place,
            lease,
            carried: TaskMetrics::default(),
        }
    }
}
