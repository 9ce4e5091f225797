//! The identity of a task.

use std::fmt;

/// A task's identity: a sub-topology and a partition of its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The index of the sub-topology in
    /// [`Topology::sub_topologies`](crate::Topology::sub_topologies).
    pub sub_topology: usize,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.sub_topology, self.partition)
    }
}
