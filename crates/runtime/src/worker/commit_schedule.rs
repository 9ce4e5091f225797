//! When a worker commits.

use std::time::Duration;

/// When the next commit is due, and what it waits for. All times are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct CommitSchedule {
    phase: CommitPhase,
    /// No commit begins before this, so that there is time between two commits.
    not_before: Duration,
}

/// The state of the uncommitted work. A failed commit is never tried again as it is: the worker
/// rewinds, and there is no uncommitted work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CommitPhase {
    /// Nothing has been processed since the last commit.
    #[default]
    Clean,
    /// There is uncommitted work, and its commit is due at this time.
    Scheduled { at: Duration },
    /// The commit was due at `since`, but the member id is not known. It is tried again at
    /// `retry_at`. Until then no task begins a record.
    AwaitingMembership { since: Duration, retry_at: Duration },
}

/// How often a commit that waits for the member id looks again.
const MEMBERSHIP_POLL: Duration = Duration::from_millis(20);

impl CommitSchedule {
    /// When to try the next commit, if there is uncommitted work.
    pub(super) fn next_attempt(&self) -> Option<Duration> {
        match self.phase {
            CommitPhase::Clean => None,
            CommitPhase::Scheduled { at } => Some(at),
            CommitPhase::AwaitingMembership { retry_at, .. } => Some(retry_at),
        }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.next_attempt().is_some_and(|at| at <= now)
    }

    /// Whether a commit that could be made is late by this much.
    pub(super) fn is_overdue(&self, now: Duration, by: Duration) -> bool {
        matches!(self.phase, CommitPhase::Scheduled { at } if at + by <= now)
    }

    pub(super) fn awaits_membership(&self) -> bool {
        matches!(self.phase, CommitPhase::AwaitingMembership { .. })
    }

    /// Notes that there is uncommitted work.
    pub(super) fn work_done(&mut self, now: Duration) {
        if self.phase == CommitPhase::Clean {
            self.phase = CommitPhase::Scheduled { at: now.max(self.not_before) };
        }
    }

    /// Postpones a commit until the member id is known. Returns how long that has taken.
    pub(super) fn await_membership(&mut self, now: Duration) -> Duration {
        let since = match self.phase {
            CommitPhase::AwaitingMembership { since, .. } => since,
            CommitPhase::Clean | CommitPhase::Scheduled { .. } => now,
        };
        self.phase = CommitPhase::AwaitingMembership { since, retry_at: now + MEMBERSHIP_POLL };
        now - since
    }

    /// Notes that there is no uncommitted work: it is being committed, or was dropped.
    pub(super) fn clear(&mut self) {
        self.phase = CommitPhase::Clean;
    }

    /// A commit has begun: the next one begins an interval later.
    pub(super) fn commit_began(&mut self, at: Duration, interval: Duration) {
        self.not_before = at + interval;
    }

    /// A commit that `began` has ended. Where commits take long, records get as much time as the
    /// commit took, but at most an interval; otherwise the worker would do nothing but commit.
    pub(super) fn commit_ended(&mut self, began: Duration, now: Duration, interval: Duration) {
        let pause = (now - began).min(interval);
        self.not_before = self.not_before.max(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_commit_begins_an_interval_after_the_last_one_began() {
        let mut schedule = CommitSchedule::default();
        schedule.work_done(5 * MS);
        assert_eq!(schedule.next_attempt(), Some(5 * MS), "the first one at once");
        schedule.clear();
        schedule.commit_began(5 * MS, 100 * MS);
        schedule.commit_ended(5 * MS, 15 * MS, 100 * MS);
        schedule.work_done(20 * MS);
        assert_eq!(schedule.next_attempt(), Some(105 * MS));
    }

    #[test]
    fn slow_commits_leave_as_much_time_for_records() {
        let mut schedule = CommitSchedule::default();
        schedule.commit_began(Duration::ZERO, 100 * MS);
        schedule.commit_ended(Duration::ZERO, 80 * MS, 100 * MS);
        schedule.work_done(81 * MS);
        assert_eq!(schedule.next_attempt(), Some(160 * MS));
        schedule.clear();
        schedule.commit_began(200 * MS, 100 * MS);
        schedule.commit_ended(200 * MS, 900 * MS, 100 * MS);
        schedule.work_done(901 * MS);
        assert_eq!(schedule.next_attempt(), Some(1_000 * MS), "at most an interval");
    }

    #[test]
    fn a_commit_that_waits_for_the_member_id_counts_from_its_first_attempt() {
        let mut schedule = CommitSchedule::default();
        schedule.work_done(MS);
        assert_eq!(schedule.await_membership(10 * MS), Duration::ZERO);
        assert!(schedule.awaits_membership() && !schedule.is_overdue(MS * 900, MS));
        assert_eq!(schedule.next_attempt(), Some(30 * MS));
        assert_eq!(schedule.await_membership(30 * MS), 20 * MS);
        schedule.clear();
        assert_eq!(schedule.await_membership(50 * MS), Duration::ZERO);
    }
}
