//! Rewinding to the last commit, and giving tasks up.
//!
//! All errors are recovered from in the same way: drop the uncommitted work, let the restorer find
//! out from the log what was committed, bring the stores to that, and take the tasks back. This
//! also finds out whether a commit of unknown outcome succeeded.

use streams_core::Task;

use super::Worker;
use super::commit::CommitOutcome;
use super::error::{ProducerHealth, WorkerError};
use super::running_tasks::RunningTask;
use crate::assignment::Assignment;
use crate::error::AppError;
use crate::failpoint::{self, reach};
use crate::lease::LeaseState;
use crate::messages::{MemberMessage, RequestedStore, RestoreRequest};
use crate::retry;
use crate::status::TaskState;

impl Worker {
    /// Turns a worker's error into a rewind, or into the end of the application.
    pub(super) fn recover(&mut self, result: Result<(), WorkerError>) -> Result<(), AppError> {
        match result {
            Ok(()) => Ok(()),
            Err(WorkerError::Rewind { producer, reason }) => self.rewind(producer, &reason, None),
            Err(WorkerError::Fatal(error)) => match error.corrupt_store() {
                Some(store) if self.has_store(store) => {
                    tracing::error!(store, %error, "a store is corrupt; rebuilding it");
                    let store = store.to_owned();
                    self.rewind(ProducerHealth::Usable, "a store is corrupt", Some(&store))
                }
                _ => {
                    // Nothing of the batch may become visible.
                    self.producer.abort_or_retire(ProducerHealth::Usable)?;
                    Err(error)
                }
            },
        }
    }

    fn has_store(&self, name: &str) -> bool {
        self.tasks.iter().any(|running| *running.assignment.store_name == *name)
    }

    /// Drops the uncommitted work and has all tasks restored from the log. A store with the name
    /// `corrupt` is rebuilt from its changelogs.
    fn rewind(
        &mut self,
        producer: ProducerHealth,
        reason: &str,
        corrupt: Option<&str>,
    ) -> Result<(), AppError> {
        tracing::info!(worker = self.index, ?producer, reason, "rewinding to the last commit");
        self.effects.clear();
        self.commits.clear();
        // Before the tasks are restored: the group does not give out offsets, nor the log records,
        // that an open transaction holds.
        self.producer.abort_or_retire(producer)?;
        self.count_rewind(producer);
        for running in self.tasks.take_all() {
            self.restore_again(running, reason, corrupt)?;
        }
        // Last, because it may have to wait for the log. The restorer can start meanwhile.
        self.renew_producer()
    }

    fn count_rewind(&self, producer: ProducerHealth) {
        let mut status = self.status.lock();
        status.commits.rewinds += 1;
        status.commits.producers_retired += u64::from(producer != ProducerHealth::Usable);
    }

    /// Gives a task back to its restorer; or closes it, if this instance has no right to it any
    /// more.
    fn restore_again(
        &mut self,
        running: RunningTask,
        reason: &str,
        corrupt: Option<&str>,
    ) -> Result<(), AppError> {
        let RunningTask { mut assignment, mut task, .. } = running;
        self.report_last(&assignment, &mut task);
        self.stop_fetching(&assignment)?;
        if !assignment.lease.is_held() {
            return self.close(assignment, task);
        }
        self.status.set_task_state(assignment.task, TaskState::Opening, reason);
        assignment.carried = assignment.carried + task.metrics().counters();
        let store = task.into_store();
        let store = if corrupt == Some(&*assignment.store_name) {
            // It must be closed before the restorer deletes it.
            drop(store);
            RequestedStore::Corrupt
        } else {
            RequestedStore::Open(store)
        };
        let restorer = &self.channels.restorers[assignment.threads.restorer];
        restorer.send(RestoreRequest { assignment, store });
        Ok(())
    }

    /// Opens a producer if there is none. It fences the last one: until then, a transaction that
    /// the last one left open holds up the restore.
    pub(super) fn renew_producer(&mut self) -> Result<(), AppError> {
        let timeout = self.config.connect_timeout;
        let producer = &mut self.producer;
        retry::until_reachable(&*self.clock, &self.config.broker, timeout, || {
            Ok(producer.ensure_open()?)
        })
    }

    /// Gives up the tasks that the group wants back. Everything is committed first, so that their
    /// next owner continues where they stopped. Tasks that are already lost lose their uncommitted
    /// work.
    pub(super) fn release_revoked(&mut self) -> Result<(), AppError> {
        let states = self.tasks.iter().map(|running| running.assignment.lease.state());
        match states.max() {
            None | Some(LeaseState::Held) => return Ok(()),
            Some(LeaseState::Lost) => {
                let reason = "the group gave tasks of this worker to another instance";
                return self.rewind(ProducerHealth::Usable, reason, None);
            }
            Some(LeaseState::Revoked) => {}
        }
        match self.commit() {
            Ok(CommitOutcome::Committed) => self.close_released(),
            // The group waits for these tasks: it is quicker to process the records again.
            Ok(CommitOutcome::Postponed) => {
                let reason = "tasks were revoked while a commit waited for the member id";
                self.rewind(ProducerHealth::Usable, reason, None)
            }
            Err(error) => self.recover(Err(error)),
        }
    }

    fn close_released(&mut self) -> Result<(), AppError> {
        // Fetching stops before the task is reported: the member then unassigns its partitions, and
        // a fetcher may only have assigned ones.
        for RunningTask { assignment, mut task, .. } in self.tasks.take_released() {
            self.report_last(&assignment, &mut task);
            self.stop_fetching(&assignment)?;
            self.close(assignment, task)?;
        }
        Ok(())
    }

    fn stop_fetching(&mut self, assignment: &Assignment) -> Result<(), AppError> {
        for partition in &assignment.inputs {
            self.fetcher.remove(partition)?;
        }
        Ok(())
    }

    /// Closes a task's store and reports it. What was applied is flushed, so that a restart has
    /// nothing to restore.
    pub(super) fn close(&mut self, assignment: Assignment, task: Task) -> Result<(), AppError> {
        let mut store = task.into_store();
        if let Err(error) = store.flush() {
            // Nothing is lost: the changelog has it.
            tracing::warn!(task = %assignment.task, %error, "a store was not flushed");
        }
        // Before it is reported: the next owner may open it from then on.
        drop(store);
        reach(failpoint::REBALANCE_CLOSED);
        tracing::info!(task = %assignment.task, "task closed");
        self.channels.member.send(MemberMessage::Released(assignment.task));
        Ok(())
    }
}
