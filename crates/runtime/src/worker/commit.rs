//! The commit. The order of its steps is the guarantee:
//!
//! 1. outputs and changelog records are in the transaction, and acknowledged,
//! 2. the offsets join it, under the group's current generation, with where the changelogs end,
//! 3. it is committed,
//! 4. and only then do the stores learn of it, together with the changelog positions that it led
//!    to.

use std::time::Duration;

use streams_core::TaskCommit;

use super::{ActiveTask, Worker, WorkerError};
use crate::failpoint::{self, reach};
use crate::lease::{Lease, LeaseState};
use crate::transport::{ErrorKind, GroupMetadata, OffsetCommit, TransportError};

/// How often a commit that waits for the membership looks again.
const MEMBERSHIP_POLL: Duration = Duration::from_millis(20);

impl Worker {
    pub(super) fn commit_if_due(&mut self) -> Result<(), WorkerError> {
        let due = self.commit_at.is_some_and(|at| at <= self.clock.monotonic());
        let overlays: usize = self.tasks.iter().map(|active| active.task.overlay_bytes()).sum();
        if due || overlays > self.config.overlay_bytes() { self.commit().map(drop) } else { Ok(()) }
    }

    /// Commits everything in hand. `false`: it has to wait until the membership is known.
    pub(super) fn commit(&mut self) -> Result<bool, WorkerError> {
        if !self.is_membership_known()? {
            self.wait_for_membership()?;
            return Ok(false);
        }
        self.membership_unknown_since = None;
        self.commit_at = None;
        let began = self.clock.monotonic();
        let mut commits = self.prepare()?;
        if commits.is_empty() {
            return Ok(true);
        }
        self.commit_after = began + self.config.commit_interval();
        reach(failpoint::COMMIT_PREPARED);
        self.send_effects()?;
        reach(failpoint::COMMIT_SENT);
        self.producer.flush()?;
        if self.producer.is_transactional() {
            self.note_changelog_ends(&mut commits);
        }
        let offsets = self.offsets(&commits);
        if self.producer.is_transactional() {
            self.commit_transaction(&offsets)?;
        } else {
            self.group.commit(&offsets, self.config.request_timeout)?;
        }
        reach(failpoint::COMMIT_COMMITTED);
        self.apply(&commits)?;
        reach(failpoint::COMMIT_APPLIED);
        self.consumed.note(&offsets);
        self.status.lock().commits.commits += 1;
        self.rest(began);
        Ok(true)
    }

    /// One commit begins an interval after the last one began. Where commits take long, records
    /// get as long as they do, an interval at most, or commits would be all that is done.
    fn rest(&mut self, began: Duration) {
        let now = self.clock.monotonic();
        let rest = (now - began).min(self.config.commit_interval());
        self.commit_after = self.commit_after.max(now + rest);
    }

    /// Whether the group's client knows who it is. While it does not, nothing can be committed; a
    /// membership that is lost shows in the leases.
    fn is_membership_known(&self) -> Result<bool, WorkerError> {
        if !self.producer.is_transactional() {
            return Ok(true);
        }
        let named = |active: &ActiveTask| {
            let lease = &active.assignment.lease;
            lease.member_id().is_some() || lease.state() == LeaseState::Lost
        };
        match self.group.metadata() {
            Ok(_) => Ok(self.tasks.iter().all(named)),
            Err(error) if error.kind() == ErrorKind::Fenced => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Stands still, for as long as the transaction lasts: it would be a pity for the work.
    fn wait_for_membership(&mut self) -> Result<(), WorkerError> {
        let now = self.clock.monotonic();
        let waited = now - *self.membership_unknown_since.get_or_insert(now);
        self.commit_at = Some(now + MEMBERSHIP_POLL);
        if waited < self.config.transaction_timeout / 2 {
            return Ok(());
        }
        let (context, cause) = ("the commit", "this instance has not been a member for too long");
        Err(TransportError::new(ErrorKind::Abortable, context, cause).into())
    }

    /// Ends the batch of every task that has something to commit: the changelog records join the
    /// effects.
    fn prepare(&mut self) -> Result<Vec<(usize, TaskCommit)>, WorkerError> {
        let mut commits = Vec::new();
        for (index, active) in self.tasks.iter_mut().enumerate() {
            if active.task.is_dirty() {
                active.assignment.changelogs.iter().for_each(|one| self.producer.track(one));
                commits.push((index, active.task.prepare_commit(&mut self.effects)?));
            }
        }
        Ok(commits)
    }

    /// Where each changelog ends goes with the offsets. Who opens the task next may be told less by
    /// a former leader that does not know it is one, and would miss what was committed last.
    fn note_changelog_ends(&mut self, commits: &mut [(usize, TaskCommit)]) {
        for (index, commit) in commits {
            let ActiveTask { assignment, ends, .. } = &mut self.tasks[*index];
            for ((table, end), changelog) in ends.iter_mut().zip(&assignment.changelogs) {
                *end = (*end).max(self.producer.position(changelog).unwrap_or(0));
                commit.note_changelog(table, *end);
            }
        }
    }

    fn offsets(&self, commits: &[(usize, TaskCommit)]) -> Vec<OffsetCommit> {
        let offsets = commits.iter().flat_map(|(index, commit)| {
            let partitions = &self.tasks[*index].assignment.partitions;
            commit.offsets.iter().map(|offset| OffsetCommit {
                partition: partitions[offset.input].clone(),
                offset: offset.offset,
                metadata: offset.metadata.clone(),
            })
        });
        offsets.collect()
    }

    fn commit_transaction(&mut self, offsets: &[OffsetCommit]) -> Result<(), WorkerError> {
        let group = self.current_membership()?;
        self.producer.send_offsets(offsets, &group)?;
        reach(failpoint::COMMIT_OFFSETS);
        self.producer.commit()?;
        Ok(())
    }

    /// This instance's membership, if it is still the one under which it got its tasks. After a
    /// lost membership the client may have become a new member already: its generation is
    /// valid, but its tasks are somebody else's.
    fn current_membership(&self) -> Result<GroupMetadata, WorkerError> {
        let group = self.group.metadata().map_err(not_a_member)?;
        let is_good = |lease: &Lease| {
            lease.state() != LeaseState::Lost && lease.member_id() == Some(&group.member_id)
        };
        if self.tasks.iter().all(|active| is_good(&active.assignment.lease)) {
            return Ok(group);
        }
        let (context, cause) = ("the commit", "the membership of the group was lost");
        Err(TransportError::new(ErrorKind::Abortable, context, cause).into())
    }

    /// The commit is known: the stores follow.
    fn apply(&mut self, commits: &[(usize, TaskCommit)]) -> Result<(), WorkerError> {
        let now = self.clock.now();
        for (index, _) in commits {
            let active = &mut self.tasks[*index];
            let changelogs = active.assignment.changelogs.iter();
            let positions: Vec<_> =
                changelogs.map(|changelog| self.producer.position(changelog)).collect();
            let applied = active.task.committed(&positions, now);
            applied.map_err(|error| WorkerError::Fatal(error.into()))?;
        }
        Ok(())
    }
}

/// Without a membership nothing can be committed, but nobody has fenced the producer: it stays.
fn not_a_member(error: TransportError) -> TransportError {
    match error.kind() {
        ErrorKind::Fenced => TransportError::new(ErrorKind::Abortable, "the commit", error),
        _ => error,
    }
}
