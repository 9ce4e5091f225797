//! What is due and was not done by the record that made it so: portion by portion, before the next
//! record.

use super::Task;
use super::progress::{Progress, ProgressText};
use super::{Resume, Step};
use crate::error::TaskError;
use crate::limits::METADATA_MAX;
use crate::operators::Closing;
use crate::store::StoreError;
use crate::task_context::Origin;

/// Entries of what is due that a step does in place of one record.
const PER_RECORD: usize = 10;

/// Bytes of a key that are committed at most; so much tells nearly all keys apart.
const KEY_BYTES_MAX: usize = 512;

/// What an entry of metadata takes beside its name and its key.
const ENTRY_BYTES: usize = 24;

impl Task {
    /// Whether windows wait to be closed, buffers to be emptied, entries to be forgotten by the
    /// records that were processed: a [`step`](Task::step) does more of it.
    pub fn is_behind(&self) -> bool {
        self.cx().portion.is_used_up
    }

    /// How many entries that are due (windows to be closed, changes to leave a buffer, entries to
    /// be forgotten) a record does itself, and the next step at most; 1,000 and 10 for each
    /// record of the step by default. The rest is done by the next steps, before any other record.
    /// For tests: it changes nothing but when commits can come in between.
    pub fn set_portion(&mut self, entries: usize) {
        self.cx_mut().portion_max = entries;
        self.portion_max = entries;
    }

    /// Does a portion. Whether nothing is left.
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
        // What is below an operator is done with what it was sent before it is sent more: so
        // everything happens in the order in which it would have happened at once.
        for hook in topology.sub_topologies[self.id.sub_topology].hooks.iter().rev() {
            let done = self.guarded(|cx| hook.on_due(cx));
            if done.is_err() {
                // Nothing is lost for whoever goes on after the failure.
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

    /// Goes on with what was left at the commit.
    pub(super) fn resume_backlog(&mut self, inputs: &[Resume]) {
        let topology = std::sync::Arc::clone(&self.topology);
        let sub = &topology.sub_topologies[self.id.sub_topology];
        let cx = self.cx_mut();
        for resume in inputs {
            // Whoever resumes has read it.
            let progress = Progress::parse(&resume.metadata).unwrap_or_default();
            for &clock in &sub.clocks {
                if let Some(pass) = progress.closing(&topology.clock_names[clock]) {
                    cx.clocks[clock].closing = Some(Box::new(pass.clone()));
                }
            }
        }
        // It counts as done by the last record before.
        let offset = inputs.first().map_or(0, |first| first.offset - 1);
        cx.origin = Origin { input: 0, offset, timestamp: 0 };
        // Tables say themselves what is left to be forgotten or let go: everybody looks.
        cx.portion.is_used_up = true;
    }

    /// Notes which windows are left to be closed.
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
        // Two digits for a byte; the first one tells where entries found by time begin.
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

    /// How many entries there are from the beginning of a key up to the key.
    fn entries_between(&self, closing: &Closing, from: &[u8]) -> Result<u64, StoreError> {
        let mut count = 0;
        self.cx().tables.scan(closing.table, from, Some(&closing.pass.key), &mut |_, _, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(count)
    }
}
