//! Records that came too late: said in the log, but not one by one.

use std::time::Duration;

use streams_core::{LateRecords, Task};

/// Between two lines of one worker.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What has not been said yet.
#[derive(Default)]
pub(crate) struct LateRecordsLog {
    unsaid: Option<LateRecords>,
    say_at: Duration,
}

impl LateRecordsLog {
    /// Takes what a task has dropped since it was last asked.
    pub(super) fn take(&mut self, task: &mut Task) {
        let Some(mut late) = task.take_late() else { return };
        late.records += self.unsaid.take().map_or(0, |before| before.records);
        self.unsaid = Some(late);
    }

    /// Says it, if it is time.
    pub(super) fn say(&mut self, now: Duration) {
        if now < self.say_at {
            return;
        }
        if let Some(late) = self.unsaid.take() {
            self.say_at = now.saturating_add(SAY_EVERY);
            let LateRecords { records, table, topic, partition, offset, .. } = &late;
            tracing::warn!(records, %table, %topic, partition, offset, "records dropped: {late}");
        }
    }
}
