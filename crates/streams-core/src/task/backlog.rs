//! Due work that a record caused and did not finish. It is done in portions before the next record.

use super::Task;
use super::progress::{Progress, ProgressText};
use super::{Resume, Step};
use crate::error::TaskError;
use crate::limits::METADATA_MAX;
use crate::operators::Closing;
use crate::store::StoreError;
use crate::task_context::Origin;

/// How many due entries count as one record of a step.
const PER_RECORD: usize = 10;

/// The most bytes of a key that are committed; that is enough to distinguish nearly all keys.
const KEY_BYTES_MAX: usize = 512;

/// The size of an entry of metadata besides its name and key.
const ENTRY_BYTES: usize = 24;

impl Task {
    /// Whether processed records have left due work: windows to close, buffers to empty, entries to
    /// delete. A [`step`](Task::step) does more of it.
    pub fn is_behind(&self) -> bool {
        self.cx().portion.is_used_up
    }

    /// Sets how many due entries (windows to close, changes to leave a buffer, entries to delete) a
    /// record processes itself, and a step at most. The defaults are 1,000, and 10 for each record
    /// of the step. The following steps do the rest, before any other record. It is for tests: it
    /// changes only where commits can come in between.
    pub fn set_portion(&mut self, entries: usize) {
        self.cx_mut().portion_max = entries;
        self.portion_max = entries;
    }

    /// Does a portion of the due work. Returns whether nothing is left.
    pub(super) fn catch_up(
        &mut self,
        records_max: usize,
        step: &mut Step,
    ) -> Result<bool, TaskError> {
        let entries = records_max.saturating_mul(PER_RECORD).min(self.portion_max).max(1);
        let cx = self.cx_mut();
        cx.headers.clear();
        cx.begin_record(false);
        cx.portion.begin(entries, cx.effects.bytes());
        cx.portion.is_used_up = false;
        let topology = std::sync::Arc::clone(&self.topology);
        // From the last operator to the first: an operator finishes its due work before it receives
        // more, so everything happens in the order without portions.
        for hook in topology.sub_topologies[self.id.sub_topology].hooks.iter().rev() {
            let done = self.guarded(|cx| hook.on_due(cx));
            if done.is_err() {
                // If the caller continues after the failure, the work is still due.
                self.cx_mut().portion.is_used_up = true;
            }
            done?;
            if self.is_behind() {
                break;
            }
        }
        let used = entries - self.cx().portion.left().min(entries);
        self.touched |= used > 0;
        step.used += used.div_ceil(PER_RECORD);
        Ok(!self.is_behind())
    }

    /// Resumes the operators, with the due work that was left at the commit.
    pub(super) fn resume_operators(&mut self, inputs: &[Resume]) {
        let topology = std::sync::Arc::clone(&self.topology);
        let sub = &topology.sub_topologies[self.id.sub_topology];
        let cx = self.cx_mut();
        let mut unfinished = Vec::new();
        for resume in inputs {
            // `resume` has already checked the metadata.
            let progress = Progress::parse(&resume.metadata).unwrap_or_default();
            for &clock in &sub.clocks {
                let pass = progress.closing(&topology.clock_names[clock]);
                unfinished.extend(pass.map(|pass| (clock, pass.clone())));
            }
        }
        sub.hooks.iter().for_each(|hook| hook.on_resume(&unfinished, cx));
        // It counts as part of the last record before.
        let offset = inputs.first().map_or(0, |first| first.offset - 1);
        cx.origin = Origin { input: 0, offset, timestamp: 0 };
        // Only the tables know what is left to delete or to emit, so all operators look.
        cx.portion.is_used_up = true;
    }

    /// Writes which windows are left to close.
    pub(super) fn write_cursors(&self, text: &mut ProgressText) -> Result<(), StoreError> {
        let sub = self.sub_topology();
        let cx = self.cx();
        let closing: Vec<_> = sub.hooks.iter().filter_map(|hook| hook.closing(cx)).collect();
        if closing.is_empty() {
            return Ok(());
        }
        let name = |closing: &Closing| &self.topology.clock_names[closing.clock];
        let tables = sub.tables.iter().map(|table| table.name().len() + ENTRY_BYTES);
        // A name and two times.
        let names = closing.iter().map(|closing| name(closing).len() + 3 * ENTRY_BYTES);
        let taken = text.len() + tables.sum::<usize>() + names.sum::<usize>();
        // Each byte takes two digits. At least one byte is needed, because it says where the
        // by-time entries begin.
        let room = (METADATA_MAX.saturating_sub(taken) / closing.len() / 2).max(1);
        for closing in &closing {
            let mut pass = closing.pass.clone();
            pass.key.truncate(KEY_BYTES_MAX.min(room));
            if pass.key.len() < closing.pass.key.len() {
                pass.skip += self.entries_between(closing, &pass.key)?;
            }
            text.closing(name(closing), &pass);
        }
        Ok(())
    }

    /// Counts the entries from the beginning of a key up to the key.
    fn entries_between(&self, closing: &Closing, from: &[u8]) -> Result<u64, StoreError> {
        let mut count = 0;
        self.cx().tables.scan(closing.table, from, Some(&closing.pass.key), &mut |_, _, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(count)
    }
}
