//! The commit. The order of its steps is the guarantee:
//!
//! 1. outputs and changelog records are in the transaction, and acknowledged,
//! 2. the offsets join it, under the group's current generation, with the ends of the changelogs,
//! 3. it is committed,
//! 4. and only then are the stores brought to it, together with their changelog positions.

use streams_core::TaskCommit;

use super::running_tasks::RunningTask;
use super::{Worker, WorkerError};
use crate::failpoint::{self, reach};
use crate::lease::{Lease, LeaseState};
use crate::transport::{ErrorKind, GroupMetadata, OffsetCommit, TransportError};

/// What a call of [`Worker::commit`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitOutcome {
    /// All uncommitted work is committed.
    Committed,
    /// Nothing is committed before the member id is known.
    Postponed,
}

/// What one task commits.
struct PreparedCommit {
    /// The task's number on this worker.
    task: usize,
    commit: TaskCommit,
}

impl Worker {
    pub(super) fn commit_if_due(&mut self) -> Result<(), WorkerError> {
        let is_due = self.commits.is_due(self.clock.monotonic());
        if is_due || self.overlay_bytes() > self.config.overlay_bytes() {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits all uncommitted work.
    pub(super) fn commit(&mut self) -> Result<CommitOutcome, WorkerError> {
        if !self.is_membership_known()? {
            self.wait_for_membership()?;
            return Ok(CommitOutcome::Postponed);
        }
        // From here on the work is being committed. A failure rewinds: the same commit is never
        // tried again, because its outcome may be unknown.
        self.commits.clear();
        let began = self.clock.monotonic();
        let mut prepared = self.prepare()?;
        if prepared.is_empty() {
            return Ok(CommitOutcome::Committed);
        }
        self.commits.commit_began(began, self.config.commit_interval());
        reach(failpoint::COMMIT_PREPARED);
        // The changelog records that `prepare` added belong to this transaction, so the effects are
        // sent after it.
        self.send_effects()?;
        reach(failpoint::COMMIT_SENT);
        // Before the offsets: only acknowledged records have the offsets that positions are made
        // of, and a commit of offsets without their effects would lose records.
        self.producer.flush()?;
        if self.producer.is_transactional() {
            self.note_changelog_ends(&mut prepared);
        }
        let offsets = self.offsets(&prepared);
        if self.producer.is_transactional() {
            self.commit_transaction(&offsets)?;
        } else {
            self.group.commit(&offsets, self.config.request_timeout)?;
        }
        reach(failpoint::COMMIT_COMMITTED);
        // Only now: a store must never be ahead of the log.
        self.apply(&prepared)?;
        reach(failpoint::COMMIT_APPLIED);
        self.consumed.note(&offsets);
        self.status.lock().commits.commits += 1;
        let ended = self.clock.monotonic();
        self.commits.commit_ended(began, ended, self.config.commit_interval());
        Ok(CommitOutcome::Committed)
    }

    /// Whether the group's client has a member id, and all tasks were assigned under one. Without
    /// it nothing can be committed. A lost membership does not count as unknown: it shows in the
    /// leases, and ends in a rewind.
    fn is_membership_known(&self) -> Result<bool, WorkerError> {
        if !self.producer.is_transactional() {
            return Ok(true);
        }
        let is_known =
            |lease: &Lease| lease.member_id().is_some() || lease.state() == LeaseState::Lost;
        match self.group.metadata() {
            Ok(_) => Ok(self.tasks.iter().all(|running| is_known(&running.assignment.lease))),
            Err(error) if error.kind() == ErrorKind::Fenced => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Postpones the commit, for half of the transaction's timeout, because a rewind would waste
    /// the work. After that the log might end the transaction.
    fn wait_for_membership(&mut self) -> Result<(), WorkerError> {
        let waited = self.commits.await_membership(self.clock.monotonic());
        if waited < self.config.transaction_timeout / 2 {
            return Ok(());
        }
        let cause = "this instance has not been a member for too long";
        Err(TransportError::new(ErrorKind::Abortable, "the commit", cause).into())
    }

    /// Ends the batch of every task that has something to commit: its changelog records join the
    /// effects.
    fn prepare(&mut self) -> Result<Vec<PreparedCommit>, WorkerError> {
        let mut prepared = Vec::new();
        for (index, running) in self.tasks.iter_mut().enumerate() {
            let RunningTask { task, changelogs, .. } = running;
            if task.is_dirty() {
                // Before anything is sent to them: the producer reports only what it tracks.
                changelogs.iter().for_each(|one| self.producer.track(&one.partition));
                let commit = task.prepare_commit(&mut self.effects)?;
                prepared.push(PreparedCommit { task: index, commit });
            }
        }
        Ok(prepared)
    }

    /// Commits the ends of the changelogs with the offsets. The instance that opens the task next
    /// may ask a former leader that does not know it was replaced, and would miss what was
    /// committed last.
    fn note_changelog_ends(&mut self, prepared: &mut [PreparedCommit]) {
        for PreparedCommit { task, commit } in prepared {
            for changelog in &mut self.tasks.get_mut(*task).changelogs {
                let sent = self.producer.position(&changelog.partition).unwrap_or(0);
                changelog.end = changelog.end.max(sent);
                commit.note_changelog(&changelog.table, changelog.end);
            }
        }
    }

    fn offsets(&self, prepared: &[PreparedCommit]) -> Vec<OffsetCommit> {
        let mut offsets = Vec::new();
        for PreparedCommit { task, commit } in prepared {
            let inputs = &self.tasks.get(*task).inputs;
            offsets.extend(commit.offsets.iter().map(|offset| OffsetCommit {
                partition: inputs[offset.input].partition.clone(),
                offset: offset.offset,
                metadata: offset.metadata.clone(),
            }));
        }
        offsets
    }

    fn commit_transaction(&mut self, offsets: &[OffsetCommit]) -> Result<(), WorkerError> {
        // Asked as late as possible. Should the membership be lost after this, the generation in
        // it makes the group refuse the offsets.
        let group = self.current_membership()?;
        self.producer.send_offsets(offsets, &group)?;
        reach(failpoint::COMMIT_OFFSETS);
        self.producer.commit()?;
        Ok(())
    }

    /// This instance's membership, if it is still the one under which it got its tasks. After a
    /// lost membership the client may have become a new member already. The group accepts that
    /// one's generation, but the tasks may be another instance's.
    fn current_membership(&self) -> Result<GroupMetadata, WorkerError> {
        let group = self.group.metadata().map_err(abortable_if_fenced)?;
        let is_current = |lease: &Lease| {
            lease.state() != LeaseState::Lost && lease.member_id() == Some(&group.member_id)
        };
        if self.tasks.iter().all(|running| is_current(&running.assignment.lease)) {
            return Ok(group);
        }
        let cause = "the membership of the group was lost";
        Err(TransportError::new(ErrorKind::Abortable, "the commit", cause).into())
    }

    /// Brings the stores to a commit that is known to have succeeded.
    fn apply(&mut self, prepared: &[PreparedCommit]) -> Result<(), WorkerError> {
        let now = self.clock.now();
        for PreparedCommit { task, .. } in prepared {
            let RunningTask { task, changelogs, .. } = self.tasks.get_mut(*task);
            let changelogs = changelogs.iter();
            let positions: Vec<_> =
                changelogs.map(|one| self.producer.position(&one.partition)).collect();
            let applied = task.committed(&positions, now);
            applied.map_err(|error| WorkerError::Fatal(error.into()))?;
        }
        Ok(())
    }
}

/// Without a membership nothing can be committed. But that does not fence the producer, which is
/// kept.
fn abortable_if_fenced(error: TransportError) -> TransportError {
    match error.kind() {
        ErrorKind::Fenced => TransportError::new(ErrorKind::Abortable, "the commit", error),
        _ => error,
    }
}
