//! What the other components tell the group member.

use streams_core::TaskId;

pub(crate) enum MemberMessage {
    /// The task's store is closed, and nothing touches its partitions any more.
    Released(TaskId),
    /// Give up all tasks and leave the group.
    Stop,
}
