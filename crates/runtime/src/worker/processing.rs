//! The turns of the tasks. They are short, whatever a record takes, so that a due commit and a
//! revoked task need not wait until everything that is queued is processed.

use std::time::Duration;

use streams_core::{Cause, RecordError};

use super::{Worker, WorkerError};

/// How long a task's turn should take at most.
const TURN: Duration = Duration::from_millis(50);

/// Records that a task processes at most before the others have their turns.
const RECORDS_MAX: usize = 1_000;

/// How many records a task may process in a turn, by how long the last ones took.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnBudget {
    records: usize,
}

impl Default for TurnBudget {
    /// Nothing is known of its records yet.
    fn default() -> Self {
        Self { records: 1 }
    }
}

impl TurnBudget {
    /// It at most doubles from turn to turn: one quick turn says little about the next records.
    fn note(&mut self, processed: usize, took: Duration) {
        if processed == 0 {
            return;
        }
        let fitting = processed as u128 * TURN.as_nanos() / took.as_nanos().max(1);
        let fitting = usize::try_from(fitting).unwrap_or(RECORDS_MAX);
        self.records = fitting.clamp(1, RECORDS_MAX.min(self.records * 2));
    }
}

impl Worker {
    /// Gives every task a turn; its effects are sent at once. When a commit is overdue, the turns
    /// end, and the tasks that had none come first next time.
    pub(super) fn process(&mut self) -> Result<(), WorkerError> {
        let mut began = self.clock.monotonic();
        for _ in 0..self.tasks.len() {
            if self.commits.is_overdue(began, TURN) {
                break;
            }
            let task = self.tasks.next_turn();
            let processed = self.process_task(task)?;
            let ended = self.clock.monotonic();
            self.tasks.get_mut(task).budget.note(processed, ended.saturating_sub(began));
            began = ended;
        }
        Ok(())
    }

    fn process_task(&mut self, index: usize) -> Result<usize, WorkerError> {
        self.observe_inputs(index);
        let now = self.clock.moment();
        let running = self.tasks.get_mut(index);
        // While a commit waits, no task begins another record, because the uncommitted work may
        // have to be repeated.
        let awaits_membership = self.commits.awaits_membership();
        let records_max = if awaits_membership { 0 } else { running.budget.records };
        let failed = running.task.advance(now, &mut self.effects)?;
        let step = running.task.step(now, records_max, &mut self.effects)?;
        let is_dirty = running.task.is_dirty();
        self.resume_partitions(index)?;
        log_failed(&failed);
        log_failed(&step.failed);
        self.send_effects()?;
        if is_dirty {
            self.commits.work_done(self.clock.monotonic());
        }
        Ok(step.used)
    }
}

/// Logs records that the error policy handled; the task has counted them. A record that fails
/// repeatedly is logged as a warning when it first fails, and when it is given up.
fn log_failed(failed: &[RecordError]) {
    for error in failed {
        if let Cause::Retried { attempt: 2.., again_in: Some(_), .. } = error.cause {
            tracing::debug!(%error, "a record that is retried has failed again");
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
            let mut budget = TurnBudget::default();
            for _ in 0..20 {
                let took = record * budget.records as u32;
                assert!(budget.records == 1 || took <= 2 * TURN, "{record:?}: {budget:?}");
                budget.note(budget.records, took);
            }
            let most = (TURN.as_nanos() / record.as_nanos()).clamp(1, RECORDS_MAX as u128);
            assert_eq!(budget.records as u128, most, "of {record:?} each");
        }
    }

    #[test]
    fn after_a_stall_the_budget_soon_grows_back() {
        let mut budget = TurnBudget { records: RECORDS_MAX };
        budget.note(RECORDS_MAX, Duration::from_secs(60));
        (0..10).for_each(|_| budget.note(budget.records, Duration::from_micros(1)));
        assert_eq!(budget.records, RECORDS_MAX);
        budget.note(0, Duration::from_secs(60));
        assert_eq!(budget.records, RECORDS_MAX, "a turn without records says nothing");
    }
}
