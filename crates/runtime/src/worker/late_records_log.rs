//! Logs records that were too late for their windows, together and not one by one.

use std::time::Duration;

use streams_core::{LateRecords, Task};

/// Between two lines of one worker.
const LOG_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct LateRecordsLog {
    /// What was dropped since the last line.
    unlogged: Option<LateRecords>,
    log_at: Duration,
}

impl LateRecordsLog {
    /// Takes what a task has dropped since the last call.
    pub(super) fn take(&mut self, task: &mut Task) {
        let Some(mut late) = task.take_late() else { return };
        late.records += self.unlogged.take().map_or(0, |before| before.records);
        self.unlogged = Some(late);
    }

    /// Logs what was dropped, if the last line is long enough ago.
    pub(super) fn log_if_due(&mut self, now: Duration) {
        if now >= self.log_at && self.log() {
            self.log_at = now.saturating_add(LOG_EVERY);
        }
    }

    /// Logs what was dropped, if anything was.
    pub(super) fn log(&mut self) -> bool {
        let Some(late) = self.unlogged.take() else { return false };
        let LateRecords { records, table, topic, partition, offset, .. } = &late;
        tracing::warn!(records, %table, %topic, partition, offset, "records dropped: {late}");
        true
    }
}
