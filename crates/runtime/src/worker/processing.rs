//! Whose turn it is, and for how many records: turns are short, whatever a record takes, so that a
//! commit that is due, and a task that is wanted back, need not wait for all that is queued.

use std::time::Duration;

use streams_core::{Cause, RecordError};

use super::{Worker, WorkerError};

/// What a task's turn should take at most.
const TURN: Duration = Duration::from_millis(50);

/// Records that a task processes at most before the others have their turn.
const RECORDS_MAX: usize = 1_000;

/// How many records a task may process in a turn, by what the last ones took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnBudget {
    records: usize,
}

impl Default for TurnBudget {
    /// Nothing is known of its records yet.
    fn default() -> Self {
        Self { records: 1 }
    }
}

impl TurnBudget {
    fn note(&mut self, processed: usize, took: Duration) {
        if processed == 0 {
            return;
        }
        let fit = processed as u128 * TURN.as_nanos() / took.as_nanos().max(1);
        let fit = usize::try_from(fit).unwrap_or(RECORDS_MAX);
        self.records = fit.clamp(1, RECORDS_MAX.min(self.records * 2));
    }
}

impl Worker {
    /// Every task has its turn; effects are sent at once. When a commit is overdue the others have
    /// theirs first next time.
    pub(super) fn process(&mut self) -> Result<(), WorkerError> {
        let mut began = self.clock.monotonic();
        for _ in 0..self.tasks.len() {
            let is_overdue = self.commit_at.is_some_and(|at| at + TURN <= began);
            if is_overdue && !self.awaits_membership() {
                break;
            }
            let index = self.next_turn % self.tasks.len();
            self.next_turn = index + 1;
            let processed = self.process_task(index)?;
            let ended = self.clock.monotonic();
            self.tasks[index].pace.note(processed, ended.saturating_sub(began));
            began = ended;
        }
        Ok(())
    }

    /// While a commit waits nobody begins another record.
    fn process_task(&mut self, index: usize) -> Result<usize, WorkerError> {
        self.observe_inputs(index);
        let (now, awaits_membership) = (self.clock.moment(), self.awaits_membership());
        let active = &mut self.tasks[index];
        let records = if awaits_membership { 0 } else { active.pace.records };
        let failed = active.task.advance(now, &mut self.effects)?;
        let step = active.task.step(now, records, &mut self.effects)?;
        let dirty = active.task.is_dirty();
        self.resume_partitions(index)?;
        log_failed(&failed);
        log_failed(&step.failed);
        self.send_effects()?;
        if dirty && self.commit_at.is_none() {
            self.commit_at = Some(self.clock.monotonic().max(self.commit_after));
        }
        Ok(step.used)
    }
}

/// Records that the error policy dealt with; the task has counted them. One that fails again and
/// again is said to fail once, and said to be given up.
fn log_failed(failed: &[RecordError]) {
    for error in failed {
        if let Cause::Retried { attempt: 2.., again_in: Some(_), .. } = error.cause {
            tracing::debug!(%error, "a record that is tried again has failed again");
            continue;
        }
        tracing::warn!(
            topic = %error.topic,
            partition = error.partition,
            offset = error.offset,
            cause = %error.cause,
            "a record could not be processed and was dealt with by the error policy"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_short_whatever_a_record_takes() {
        for record in [1, 1_000, 100_000, 12_000_000, 80_000_000].map(Duration::from_nanos) {
            let mut pace = TurnBudget::default();
            for _ in 0..20 {
                let took = record * pace.records as u32;
                assert!(pace.records == 1 || took <= 2 * TURN, "{record:?}: {pace:?}");
                pace.note(pace.records, took);
            }
            let most = (TURN.as_nanos() / record.as_nanos()).clamp(1, RECORDS_MAX as u128);
            assert_eq!(pace.records as u128, most, "of {record:?} each");
        }
    }

    #[test]
    fn a_process_that_stood_still_is_soon_at_its_pace_again() {
        let mut pace = TurnBudget { records: RECORDS_MAX };
        pace.note(RECORDS_MAX, Duration::from_secs(60));
        (0..10).for_each(|_| pace.note(pace.records, Duration::from_micros(1)));
        assert_eq!(pace.records, RECORDS_MAX);
        pace.note(0, Duration::from_secs(60));
        assert_eq!(pace.records, RECORDS_MAX, "a turn without records says nothing");
    }
}
