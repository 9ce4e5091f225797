//! The group member: turns the group's assignments into tasks. Its thread polls and heartbeats, and
//! never runs user code, restores or commits.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | assignments, revocations, the graceful stop |
//! | `lead_topics.rs` | which task a partition stands for |
//! | `pending_revocations.rs` | partitions that are unassigned when their tasks are closed |
//! | `member_id.rs` | a client that became another member |

mod lead_topics;
mod member_id;
mod pending_revocations;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use streams_core::{TaskId, TopicPartition};

use crate::assignment::{Assignment, TaskThreads};
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::lease::Lease;
use crate::messages::{Mailbox, MemberMessage, RequestedStore, RestoreRequest, WorkerMessage};
use crate::status::{AppState, StatusHandle, TaskState};
use crate::transport::{ErrorKind, Member, MemberEvent, Transport};

pub(crate) use lead_topics::LeadTopics;
use member_id::MemberIdTracker;
use pending_revocations::PendingRevocations;

/// What a group member is made of.
pub(crate) struct GroupMemberParts {
    pub(crate) transport: Box<dyn Member>,
    /// For looking up how far a topic has grown.
    pub(crate) log: Arc<dyn Transport>,
    pub(crate) lead_topics: LeadTopics,
    pub(crate) channels: MemberChannels,
    pub(crate) status: StatusHandle,
}

/// The components that the member talks to.
pub(crate) struct MemberChannels {
    pub(crate) messages: Receiver<MemberMessage>,
    pub(crate) restorers: Vec<Mailbox<RestoreRequest>>,
    pub(crate) workers: Vec<Mailbox<WorkerMessage>>,
}

pub(crate) struct GroupMember {
    transport: Box<dyn Member>,
    log: Arc<dyn Transport>,
    lead_topics: LeadTopics,
    channels: MemberChannels,
    status: StatusHandle,
    tasks: BTreeMap<TaskId, Assignment>,
    /// The lead partitions that the group has assigned, and that are not unassigned again.
    assigned: BTreeSet<TopicPartition>,
    revocations: PendingRevocations,
    member_ids: MemberIdTracker,
    shutdown: Shutdown,
}

/// How far a graceful stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    /// Tasks are being committed and closed.
    ClosingTasks,
    /// The group has been told; its answer has not come yet.
    LeavingGroup {
        polls_left: u32,
    },
    Done,
}

/// How long it may take to find out by how much a topic has grown.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may take to send the group that this member leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many polls of a leaving member wait for the group's answer.
const LEAVING_POLLS: u32 = 400;

/// How long a poll of a leaving member takes at most when tasks are not waited for.
const LEAVING_POLL: Duration = Duration::from_millis(20);

/// How long a poll takes at most while messages of other components are expected.
const BUSY_POLL: Duration = Duration::from_millis(5);

impl GroupMember {
    pub(crate) fn new(parts: GroupMemberParts) -> Self {
        Self {
            transport: parts.transport,
            log: parts.log,
            lead_topics: parts.lead_topics,
            channels: parts.channels,
            status: parts.status,
            tasks: BTreeMap::new(),
            assigned: BTreeSet::new(),
            revocations: PendingRevocations::default(),
            member_ids: MemberIdTracker::default(),
            shutdown: Shutdown::No,
        }
    }

    /// Serves the group once; `false` when this member has left it.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<bool, AppError> {
        let is_idle = self.revocations.is_empty() && self.shutdown == Shutdown::No;
        let wait = if is_idle { wait } else { wait.min(BUSY_POLL) };
        for event in self.poll(wait)? {
            match event {
                MemberEvent::Assigned(leads) => {
                    self.assign(&leads)?;
                    // Another member has left at the same time, and its partitions came here. The
                    // group asks for them back when this member leaves.
                    if self.shutdown != Shutdown::No {
                        self.close_tasks(&leads, Lease::revoke);
                    }
                }
                MemberEvent::Revoked(leads) => self.give_up(&leads, Lease::revoke),
                MemberEvent::Lost(leads) => self.give_up(&leads, Lease::lose),
            }
        }
        // After the events: an assignment among them may have confirmed the new member id.
        self.follow_member_id();
        self.read_messages();
        for partitions in self.revocations.take_finished() {
            self.unassign(&partitions)?;
        }
        self.advance_shutdown()?;
        Ok(self.shutdown != Shutdown::Done)
    }

    fn poll(&mut self, wait: Duration) -> Result<Vec<MemberEvent>, AppError> {
        match self.transport.poll(wait) {
            Ok(events) => Ok(events),
            Err(error) if error.kind() == ErrorKind::Retriable => {
                tracing::warn!(%error, "the group cannot be reached; retrying");
                Ok(Vec::new())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Fatal) => {
                Err(AppError::Membership(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Accepts the tasks that these lead partitions identify.
    fn assign(&mut self, leads: &[TopicPartition]) -> Result<(), AppError> {
        self.refuse_grown(leads)?;
        self.confirm_member_id();
        let mut partitions = Vec::new();
        let mut tasks = Vec::new();
        self.assigned.extend(leads.iter().cloned());
        for lead in leads {
            match self.lead_topics.task_of(lead) {
                Some(task) => {
                    let assignment = self.assignment(task);
                    partitions.extend(assignment.inputs.iter().cloned());
                    tasks.push(assignment);
                }
                None => {
                    tracing::warn!(partition = %lead, "assigned a partition that no task consumes");
                    partitions.push(lead.clone());
                }
            }
        }
        // Before the tasks are opened: a fetcher may only add partitions that are assigned.
        self.transport.assign(&partitions)?;
        if !partitions.is_empty() {
            reach(failpoint::REBALANCE_ASSIGNED);
        }
        tasks.into_iter().for_each(|assignment| self.open(assignment));
        // Only now: a member without tasks in its status would look like a spare.
        self.status.set_member();
        Ok(())
    }

    /// Assigns a task to the threads that have the fewest, under the current lease.
    fn assignment(&mut self, task: TaskId) -> Assignment {
        let threads = self.threads_for(task);
        let assignment = self.lead_topics.assignment(task, threads, self.lease());
        self.tasks.insert(task, assignment.clone());
        assignment
    }

    fn open(&self, assignment: Assignment) {
        let TaskThreads { worker, restorer } = assignment.threads;
        tracing::info!(task = %assignment.task, worker, "task assigned");
        self.status.task_opened(assignment.task, worker, &assignment.inputs);
        let request = RestoreRequest { assignment, store: RequestedStore::Closed };
        self.channels.restorers[restorer].send(request);
    }

    /// Refuses partitions that were added to a topic: its keys are in other partitions now.
    fn refuse_grown(&self, leads: &[TopicPartition]) -> Result<(), AppError> {
        for lead in leads {
            if let Some(before) = self.lead_topics.outgrown(lead) {
                let topic = Arc::clone(&lead.topic);
                let now = self.partitions_now(leads, &topic);
                return Err(AppError::TopicGrew { topic, before, now });
            }
        }
        Ok(())
    }

    /// How many partitions a grown topic has: as the log says, or else as far as this assignment
    /// tells. Other members may have been assigned more of them.
    fn partitions_now(&self, leads: &[TopicPartition], topic: &Arc<str>) -> i32 {
        let described = (self.log.admin())
            .and_then(|mut admin| admin.describe(&[Arc::clone(topic)], LOOK_UP_TIMEOUT));
        let info = described.ok().and_then(|mut found| found.pop().flatten());
        info.map(|info| info.partitions).unwrap_or_else(|| {
            let of_topic = leads.iter().filter(|lead| lead.topic == *topic);
            of_topic.map(|lead| lead.partition + 1).max().unwrap_or(0)
        })
    }

    /// The worker with the fewest tasks, and the restorer with the fewest of the same
    /// sub-topology: tasks of others may have no tables, and cost a restorer nothing.
    fn threads_for(&self, task: TaskId) -> TaskThreads {
        let tasks = || self.tasks.values();
        let of_worker =
            |worker: &usize| tasks().filter(|one| one.threads.worker == *worker).count();
        let of_restorer = |restorer: &usize| {
            let same = tasks().filter(|one| one.task.sub_topology == task.sub_topology);
            same.filter(|one| one.threads.restorer == *restorer).count()
        };
        TaskThreads {
            worker: (0..self.channels.workers.len()).min_by_key(of_worker).unwrap_or(0),
            restorer: (0..self.channels.restorers.len()).min_by_key(of_restorer).unwrap_or(0),
        }
    }

    /// Closes the tasks of these lead partitions; the partitions are unassigned when that is done.
    fn give_up(&mut self, leads: &[TopicPartition], mark: impl Fn(&Lease)) {
        let tasks = self.close_tasks(leads, mark);
        let revoked = leads.iter().filter_map(|lead| self.lead_topics.task_of(lead));
        revoked.for_each(|task| self.member_ids.task_revoked(task));
        reach(failpoint::REBALANCE_REVOKED);
        let partitions = leads.iter().flat_map(|lead| self.with_followers(lead)).collect();
        self.revocations.add(partitions, tasks);
    }

    /// Marks the leases of tasks and tells all components to look at them. Returns those tasks of
    /// the partitions that exist.
    fn close_tasks(&self, leads: &[TopicPartition], mark: impl Fn(&Lease)) -> Vec<TaskId> {
        let mut closing = Vec::new();
        for task in leads.iter().filter_map(|lead| self.lead_topics.task_of(lead)) {
            let Some(assignment) = self.tasks.get(&task) else { continue };
            mark(&assignment.lease);
            self.status.set_task_state(task, TaskState::Closing, "revoked");
            tracing::info!(%task, "task revoked");
            closing.push(task);
        }
        self.announce_lease_changes();
        closing
    }

    /// A task may be with its restorer, with its worker, or on its way between them, so all of
    /// them are told.
    fn announce_lease_changes(&self) {
        self.channels.restorers.iter().for_each(Mailbox::wake);
        self.channels.workers.iter().for_each(|worker| worker.send(WorkerMessage::LeasesChanged));
    }

    /// A lead partition and those of the other sources that follow it.
    fn with_followers(&self, lead: &TopicPartition) -> Vec<TopicPartition> {
        match self.lead_topics.task_of(lead) {
            Some(task) => self.lead_topics.inputs(task),
            None => vec![lead.clone()],
        }
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), AppError> {
        for partition in partitions {
            self.assigned.remove(partition);
        }
        self.transport.unassign(partitions)?;
        reach(failpoint::REBALANCE_UNASSIGNED);
        Ok(())
    }

    fn read_messages(&mut self) {
        loop {
            match self.channels.messages.try_recv() {
                Ok(MemberMessage::Released(task)) => self.task_closed(task),
                Ok(MemberMessage::Stop) => self.begin_shutdown(),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn task_closed(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.status.task_closed(task);
        self.revocations.task_closed(task);
        self.member_ids.task_closed(task);
    }

    fn begin_shutdown(&mut self) {
        if self.shutdown != Shutdown::No {
            return;
        }
        self.shutdown = Shutdown::ClosingTasks;
        self.status.set_state(AppState::Stopping);
        reach(failpoint::SHUTDOWN_ASKED);
        let leads: Vec<_> = self.assigned.iter().cloned().collect();
        self.close_tasks(&leads, Lease::revoke);
    }

    /// Tasks are closed before the group is left, so that the last commit is still a member's. The
    /// partitions are unassigned when the group revokes them, as it does for a member that leaves.
    fn advance_shutdown(&mut self) -> Result<(), AppError> {
        match self.shutdown {
            Shutdown::ClosingTasks if self.revocations.is_empty() && self.tasks.is_empty() => {
                self.transport.leave(LEAVE_TIMEOUT)?;
                reach(failpoint::SHUTDOWN_LEAVING);
                self.shutdown = Shutdown::LeavingGroup { polls_left: LEAVING_POLLS };
            }
            Shutdown::LeavingGroup { polls_left } if polls_left == 0 || self.has_left() => {
                self.shutdown = Shutdown::Done;
            }
            Shutdown::LeavingGroup { polls_left } => {
                self.shutdown = Shutdown::LeavingGroup { polls_left: polls_left - 1 };
            }
            Shutdown::No | Shutdown::ClosingTasks | Shutdown::Done => {}
        }
        Ok(())
    }

    /// Leaves the group without waiting for tasks: they have ended, or must not go on. Errors are
    /// ignored, since nothing can be done about them any more.
    pub(crate) fn abandon(&mut self) {
        if self.shutdown == Shutdown::Done {
            return;
        }
        let _ = self.transport.leave(LEAVE_TIMEOUT);
        for _ in 0..LEAVING_POLLS {
            for event in self.transport.poll(LEAVING_POLL).unwrap_or_default() {
                if let MemberEvent::Revoked(leads) | MemberEvent::Lost(leads) = event {
                    let partitions: Vec<_> =
                        leads.iter().flat_map(|lead| self.with_followers(lead)).collect();
                    let _ = self.unassign(&partitions);
                }
            }
            if self.has_left() {
                return;
            }
        }
    }

    /// Whether the group has answered: it has nothing assigned to this member, which has no
    /// generation any more.
    fn has_left(&self) -> bool {
        self.assigned.is_empty() && self.transport.group().metadata().is_err()
    }
}
