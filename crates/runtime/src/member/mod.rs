//! The group member: turns the group's decisions into tasks. Its thread polls and heartbeats, and
//! never runs user code, restores or commits.

mod lead_topics;
mod member_id;
mod pending_revocations;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use streams_core::{TaskId, TopicPartition, Topology};

use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::lease::{Assignment, Lease, Place};
use crate::mailbox::Mailbox;
use crate::restore::RestoringTask;
use crate::status::{AppState, StatusHandle, TaskState};
use crate::transport::{self, ErrorKind, MemberEvent, Transport};
use crate::worker::WorkerMessage;

pub(crate) use lead_topics::LeadTopics;
use member_id::MemberIdTracker;
use pending_revocations::PendingRevocations;

/// What the others tell the member.
pub(crate) enum MemberMessage {
    /// The task's store is closed and its partitions are no longer touched.
    Released(TaskId),
    /// Give everything up and leave the group.
    Stop,
}

pub(crate) struct Member {
    pub(crate) transport: Box<dyn transport::Member>,
    log: Arc<dyn Transport>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) placement: LeadTopics,
    pub(crate) notices: Receiver<MemberMessage>,
    pub(crate) restorers: Vec<Mailbox<RestoringTask>>,
    pub(crate) workers: Vec<Mailbox<WorkerMessage>>,
    pub(crate) status: StatusHandle,
    tasks: BTreeMap<TaskId, Assignment>,
    /// The lead partitions that the group has given us and not got back.
    held: BTreeSet<TopicPartition>,
    releases: PendingRevocations,
    naming: MemberIdTracker,
    stopping: Stopping,
}

/// How far a graceful stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// The tasks are being given up.
    Tasks,
    /// The group has been told; its answer is waited for.
    Leaving {
        polls_left: u32,
    },
    Done,
}

/// How long it may take to find out by how much a topic has grown.
const LOOK_UP: Duration = Duration::from_secs(2);

/// How long a goodbye may take to be said.
const LEAVE: Duration = Duration::from_secs(1);

/// How many polls of a leaving member wait for the goodbye to go through.
const LEAVING_POLLS: u32 = 400;

impl Member {
    pub(crate) fn new(
        (transport, log): (Box<dyn transport::Member>, Arc<dyn Transport>),
        topology: Arc<Topology>,
        placement: LeadTopics,
        notices: Receiver<MemberMessage>,
        restorers: Vec<Mailbox<RestoringTask>>,
        workers: Vec<Mailbox<WorkerMessage>>,
        status: StatusHandle,
    ) -> Self {
        Self {
            transport,
            log,
            topology,
            placement,
            notices,
            restorers,
            workers,
            status,
            tasks: BTreeMap::new(),
            held: BTreeSet::new(),
            releases: PendingRevocations::default(),
            naming: MemberIdTracker::default(),
            stopping: Stopping::No,
        }
    }

    /// Serves the group once; `false` when it has left it.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<bool, AppError> {
        let quick = Duration::from_millis(5);
        let idle = self.releases.is_empty() && self.stopping == Stopping::No;
        let wait = if idle { wait } else { wait.min(quick) };
        for event in self.poll(wait)? {
            match event {
                MemberEvent::Assigned(leads) => {
                    self.assigned(&leads)?;
                    // Somebody else has left at the same time; his tasks are not for us any more.
                    // Their partitions are asked back when we say goodbye.
                    if self.stopping != Stopping::No {
                        self.close_tasks(&leads, Lease::revoke);
                    }
                }
                MemberEvent::Revoked(leads) => self.give_up(&leads, Lease::revoke),
                MemberEvent::Lost(leads) => self.give_up(&leads, Lease::lose),
            }
        }
        self.follow_member_id();
        self.read_messages();
        for partitions in self.releases.finished() {
            self.unassign(&partitions)?;
        }
        self.advance_shutdown()?;
        Ok(self.stopping != Stopping::Done)
    }

    fn poll(&mut self, wait: Duration) -> Result<Vec<MemberEvent>, AppError> {
        match self.transport.poll(wait) {
            Ok(events) => Ok(events),
            Err(error) if error.kind() == ErrorKind::Retriable => {
                tracing::warn!(%error, "the group cannot be reached, trying again");
                Ok(Vec::new())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Fatal) => {
                Err(AppError::Membership(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes over the tasks that these lead partitions stand for.
    fn assigned(&mut self, leads: &[TopicPartition]) -> Result<(), AppError> {
        self.refuse_grown(leads)?;
        self.confirm();
        let mut partitions = Vec::new();
        let mut assignments = Vec::new();
        self.held.extend(leads.iter().cloned());
        for lead in leads {
            let Some(task) = self.placement.task_of(lead) else {
                tracing::warn!(partition = %lead, "assigned a partition that no task wants");
                partitions.push(lead.clone());
                continue;
            };
            let (place, lease) = (self.place(task), self.lease());
            let assignment = self.placement.assignment(&self.topology, task, place, lease);
            partitions.extend(assignment.partitions.iter().cloned());
            self.tasks.insert(task, assignment.clone());
            assignments.push(assignment);
        }
        self.transport.assign(&partitions)?;
        if !partitions.is_empty() {
            reach(failpoint::REBALANCE_ASSIGNED);
        }
        assignments.into_iter().for_each(|assignment| self.open(assignment));
        // Only now: without its tasks in the status it would look like a spare.
        self.status.set_member();
        Ok(())
    }

    fn open(&self, assignment: Assignment) {
        tracing::info!(task = %assignment.task, worker = assignment.place.worker, "task assigned");
        let Place { worker, restorer } = assignment.place;
        self.status.task_opened(assignment.task, worker, &assignment.partitions);
        self.restorers[restorer].send(RestoringTask::new(assignment));
    }

    /// A topic that got more partitions has its keys elsewhere now.
    fn refuse_grown(&self, leads: &[TopicPartition]) -> Result<(), AppError> {
        let grown = leads.iter().find_map(|lead| Some((lead, self.placement.outgrown(lead)?)));
        let Some((lead, before)) = grown else { return Ok(()) };
        let topic = Arc::clone(&lead.topic);
        let of_topic = leads.iter().filter(|lead| lead.topic == topic);
        let given = of_topic.map(|lead| lead.partition + 1).max().unwrap_or(0);
        // Others may have been given more of them.
        let found = (self.log.admin())
            .and_then(|mut admin| admin.describe(&[Arc::clone(&topic)], LOOK_UP))
            .ok()
            .and_then(|mut found| found.pop().flatten());
        let now = found.map_or(given, |info| info.partitions);
        Err(AppError::TopicGrew { topic, before, now })
    }

    /// Whose a new task becomes: of those who have the fewest. Tasks of another sub-topology are no
    /// burden for a restorer: they may have no tables.
    fn place(&self, task: TaskId) -> Place {
        let all = || self.tasks.values();
        let work = |worker: &usize| all().filter(|one| one.place.worker == *worker).count();
        let alike = || all().filter(|one| one.task.sub_topology == task.sub_topology);
        let reading =
            |restorer: &usize| alike().filter(|one| one.place.restorer == *restorer).count();
        Place {
            worker: (0..self.workers.len()).min_by_key(work).unwrap_or(0),
            restorer: (0..self.restorers.len()).min_by_key(reading).unwrap_or(0),
        }
    }

    /// Has the tasks of these lead partitions closed; the partitions are unassigned when that is
    /// done.
    fn give_up(&mut self, leads: &[TopicPartition], mark: impl Fn(&Lease)) {
        let tasks = self.close_tasks(leads, mark);
        let given_up = leads.iter().filter_map(|lead| self.placement.task_of(lead));
        given_up.for_each(|task| self.naming.given_up(task));
        reach(failpoint::REBALANCE_REVOKED);
        let partitions = leads.iter().flat_map(|lead| self.with_followers(lead)).collect();
        self.releases.add(partitions, tasks);
    }

    /// Tells everybody that these tasks are to be closed; those that there are.
    fn close_tasks(&self, leads: &[TopicPartition], mark: impl Fn(&Lease)) -> Vec<TaskId> {
        let tasks = leads.iter().filter_map(|lead| self.placement.task_of(lead));
        let assignments = tasks.filter_map(|task| self.tasks.get(&task));
        let closing = assignments.map(|assignment| {
            mark(&assignment.lease);
            self.status.set_task_state(assignment.task, TaskState::Closing, "revoked");
            tracing::info!(task = %assignment.task, "task revoked");
            assignment.task
        });
        let closing = closing.collect();
        self.leases_changed();
        closing
    }

    /// Whoever has a task in hand has to look at its lease.
    fn leases_changed(&self) {
        self.restorers.iter().for_each(Mailbox::wake);
        self.workers.iter().for_each(|worker| worker.send(WorkerMessage::LeasesChanged));
    }

    /// A lead partition and those of the other sources that follow it.
    fn with_followers(&self, lead: &TopicPartition) -> Vec<TopicPartition> {
        match self.placement.task_of(lead) {
            Some(task) => self.placement.partitions(&self.topology, task),
            None => vec![lead.clone()],
        }
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), AppError> {
        for partition in partitions {
            self.held.remove(partition);
        }
        self.transport.unassign(partitions)?;
        reach(failpoint::REBALANCE_UNASSIGNED);
        Ok(())
    }

    fn read_messages(&mut self) {
        loop {
            match self.notices.try_recv() {
                Ok(MemberMessage::Released(task)) => {
                    self.tasks.remove(&task);
                    self.status.task_closed(task);
                    self.releases.released(task);
                    self.naming.released(task);
                }
                Ok(MemberMessage::Stop) => {
                    if self.stopping == Stopping::No {
                        self.stopping = Stopping::Tasks;
                        self.status.set_state(AppState::Stopping);
                        reach(failpoint::SHUTDOWN_ASKED);
                        let leads: Vec<_> = self.held.iter().cloned().collect();
                        self.close_tasks(&leads, Lease::revoke);
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// Leaves the group without regard to tasks: they have ended, or must not go on. Errors are of
    /// no use any more.
    pub(crate) fn abandon(&mut self) {
        if self.stopping == Stopping::Done {
            return;
        }
        let _ = self.transport.leave(LEAVE);
        for _ in 0..LEAVING_POLLS {
            for event in self.transport.poll(Duration::from_millis(20)).unwrap_or_default() {
                if let MemberEvent::Revoked(leads) | MemberEvent::Lost(leads) = event {
                    let all: Vec<_> =
                        leads.iter().flat_map(|lead| self.with_followers(lead)).collect();
                    let _ = self.unassign(&all);
                }
            }
            if self.has_left() {
                return;
            }
        }
    }

    /// First the tasks, then the group: so that the last commit is still that of a member. The
    /// partitions are unassigned when the group asks for them, as it does of one that says goodbye.
    fn advance_shutdown(&mut self) -> Result<(), AppError> {
        match self.stopping {
            Stopping::Tasks if self.releases.is_empty() && self.tasks.is_empty() => {
                self.transport.leave(LEAVE)?;
                reach(failpoint::SHUTDOWN_LEAVING);
                self.stopping = Stopping::Leaving { polls_left: LEAVING_POLLS };
            }
            Stopping::Leaving { polls_left } if polls_left == 0 || self.has_left() => {
                self.stopping = Stopping::Done;
            }
            Stopping::Leaving { polls_left } => {
                self.stopping = Stopping::Leaving { polls_left: polls_left - 1 };
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the goodbye went through: the group holds nothing for us, and we are nobody there.
    fn has_left(&self) -> bool {
        self.held.is_empty() && self.transport.group().metadata().is_err()
    }
}
