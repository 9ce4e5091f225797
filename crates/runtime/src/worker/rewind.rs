//! Back to the last commit, and giving tasks up.
//!
//! There is one way back for every reason: drop the work in hand, then let the restorer find out
//! from the log what was committed, bring the stores up to that, and give the tasks back. Whether a
//! commit of unknown outcome happened is found out the same way.

use std::mem;

use streams_core::Task;

use super::{ActiveTask, ProducerHealth, Worker, WorkerError};
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::lease::{Assignment, LeaseState};
use crate::member::MemberMessage;
use crate::restore::RestoringTask;
use crate::status::TaskState;

impl Worker {
    /// Turns trouble into a rewind, or into the application's end.
    pub(super) fn recover(&mut self, result: Result<(), WorkerError>) -> Result<(), AppError> {
        match result {
            Ok(()) => Ok(()),
            Err(WorkerError::Rewind { health, reason }) => self.rewind(health, &reason),
            Err(WorkerError::Fatal(error)) => match error.corrupt_store() {
                Some(store) if self.has_store(store) => {
                    tracing::error!(store, %error, "a store is corrupt: it is rebuilt");
                    let damaged = store.to_owned();
                    self.rewind_without(
                        Some(&damaged),
                        ProducerHealth::Usable,
                        "a store is corrupt",
                    )
                }
                _ => {
                    // Nothing of the batch may become visible.
                    self.producer.end_transaction(ProducerHealth::Usable)?;
                    Err(error)
                }
            },
        }
    }

    fn has_store(&self, name: &str) -> bool {
        self.tasks.iter().any(|active| *active.assignment.store_name == *name)
    }

    fn rewind(&mut self, health: ProducerHealth, reason: &str) -> Result<(), AppError> {
        self.rewind_without(None, health, reason)
    }

    /// A rewind after which the store called `damaged` is rebuilt from its changelogs.
    fn rewind_without(
        &mut self,
        damaged: Option<&str>,
        health: ProducerHealth,
        reason: &str,
    ) -> Result<(), AppError> {
        let worker = self.index;
        tracing::info!(worker, producer = ?health, reason, "rewinding to the last commit");
        self.effects.clear();
        self.commit_at = None;
        self.membership_unknown_since = None;
        self.producer.end_transaction(health)?;
        {
            let mut status = self.status.lock();
            status.commits.rewinds += 1;
            status.commits.producers_retired += u64::from(health != ProducerHealth::Usable);
        }
        let tasks = mem::take(&mut self.tasks);
        self.rebuild_queue_index();
        for ActiveTask { mut assignment, mut task, .. } in tasks {
            self.count(&assignment, &mut task);
            self.stop_fetching(&assignment)?;
            if !assignment.lease.is_held() {
                self.close(assignment, task)?;
                continue;
            }
            self.status.set_task_state(assignment.task, TaskState::Opening, reason);
            assignment.carried = assignment.carried + task.metrics().counters();
            let (store, restorer) = (task.into_store(), assignment.place.restorer);
            let opening = if damaged == Some(&*assignment.store_name) {
                drop(store);
                RestoringTask::rebuilding(assignment)
            } else {
                RestoringTask::again(assignment, store)
            };
            self.restorers[restorer].send(opening);
        }
        self.renew_producer()
    }

    /// The new producer fences the old one: until then, what that one has left open holds up the
    /// restore.
    pub(super) fn renew_producer(&mut self) -> Result<(), AppError> {
        let broker = self.config.broker.clone();
        let timeout = self.config.connect_timeout;
        let (clock, producer) = (&*self.clock, &mut self.producer);
        crate::topics::retried(clock, &broker, timeout, || Ok(producer.ensure()?))
    }

    /// Gives up the tasks that the group wants back: commits everything first, so that their new
    /// owner goes on where they stopped. Tasks that are lost already take their uncommitted
    /// work with them.
    pub(super) fn release_revoked(&mut self) -> Result<(), AppError> {
        let states = self.tasks.iter().map(|active| active.assignment.lease.state());
        match states.max() {
            None | Some(LeaseState::Held) => return Ok(()),
            Some(LeaseState::Lost) => {
                let reason = "the group gave tasks of this worker to somebody else";
                return self.rewind(ProducerHealth::Usable, reason);
            }
            Some(LeaseState::Revoked) => {}
        }
        match self.commit() {
            Ok(true) => self.close_revoked(),
            // An agent is in the middle of a record, or the membership is not known. The others
            // wait for these tasks: the work is done again there.
            Ok(false) => self
                .rewind(ProducerHealth::Usable, "the commit had to wait when tasks were revoked"),
            Err(trouble) => self.recover(Err(trouble)),
        }
    }

    fn close_revoked(&mut self) -> Result<(), AppError> {
        let gone = |active: &mut ActiveTask| !active.assignment.lease.is_held();
        let revoked: Vec<_> = self.tasks.extract_if(.., gone).collect();
        self.rebuild_queue_index();
        for ActiveTask { assignment, mut task, .. } in revoked {
            self.count(&assignment, &mut task);
            self.stop_fetching(&assignment)?;
            self.close(assignment, task)?;
        }
        Ok(())
    }

    fn stop_fetching(&mut self, assignment: &Assignment) -> Result<(), AppError> {
        for partition in &assignment.partitions {
            self.fetcher.remove(partition)?;
        }
        Ok(())
    }

    /// Closes a task's store and says so. What was applied is flushed, so that a restart has
    /// nothing to replay.
    pub(super) fn close(&mut self, assignment: Assignment, task: Task) -> Result<(), AppError> {
        let mut store = task.into_store();
        if let Err(error) = store.flush() {
            // Nothing is lost: the changelog has it.
            tracing::warn!(task = %assignment.task, %error, "a store was not flushed");
        }
        drop(store);
        reach(failpoint::REBALANCE_CLOSED);
        tracing::info!(task = %assignment.task, "task closed");
        self.member.send(MemberMessage::Released(assignment.task));
        Ok(())
    }
}
