//! Records that an agent retries. The agent may take long for one, with commits in between, so the
//! row remains until the agent has acknowledged the record or has failed with it.

use std::sync::Arc;

use super::Waits;
use super::rows::{RetryKey, Waiting};
use crate::error::{Cause, RecordError, TaskError};
use crate::policy::ErrorPolicy;
use crate::record::OwnedRecord;
use crate::task::Task;
use crate::task::agents::Pending;
use crate::task_context::Origin;

impl Task {
    /// Gives a record that is due to the agent that it waits for.
    pub(super) fn give_again(
        &mut self,
        input: usize,
        found: Waiting,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        // What is written from here on belongs to no record that could be undone.
        self.cx_mut().begin_record(false);
        self.with_queue(input, |queue, cx| queue.take_in_hand(&mut cx.tables, &found))?;
        let Some(agent) = self.source(input).agent(found.place.reader()) else {
            let operator: Arc<str> = format!("agent {}", found.place.reader()).into();
            let source = "the topology has no such agent any more".into();
            return self.failed_again(input, found, Cause::User { operator, source }, failed);
        };
        let raw = found.record.raw();
        let origin = Origin::of(input as u32, &raw);
        self.cx_mut().headers.clone_from(&found.record.headers);
        if let Err(failure) = self.deliver(input, agent, &raw, origin) {
            let cause = self.record_cause(failure)?;
            return self.failed_again(input, found, cause, failed);
        }
        self.inputs[input].agents[agent].push(Pending::again(found));
        self.run_if_due(input, agent, failed)
    }

    /// Lets a record wait for earlier ones with its key that wait for an agent, if there are any.
    pub(in crate::task) fn agent_is_held(
        &mut self,
        input: usize,
        agent: usize,
        key: Option<&[u8]>,
        record: impl Fn() -> OwnedRecord,
        failed: &mut Vec<RecordError>,
    ) -> Result<bool, TaskError> {
        if !self.may_hold(input) {
            return Ok(false);
        }
        let place = RetryKey::new(self.source(input).agents[agent].name(), key);
        match self.wait_behind(input, place, &record)? {
            Waits::No => Ok(false),
            Waits::Behind => Ok(true),
            Waits::Refused(refused) => {
                self.blame(input, agent, Pending::new(record()), refused, failed)?;
                Ok(true)
            }
        }
    }

    /// Handles a record with which an agent has failed, or that it could not receive.
    pub(in crate::task) fn agent_gave_up(
        &mut self,
        input: usize,
        agent: usize,
        pending: Pending,
        cause: Cause,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        self.touched = true;
        if let Some(found) = pending.row {
            return self.failed_again(input, *found, cause, failed);
        }
        let topology = Arc::clone(&self.topology);
        let source = &topology.sub_topologies[self.id.sub_topology].sources[input];
        let error = match &source.policy {
            ErrorPolicy::Retry(retry) => {
                let reader = source.agents[agent].name();
                self.wait_or_end(input, reader, &pending.record, cause, retry)?
            }
            policy => self.end(input, &pending.record, cause, policy)?,
        };
        failed.push(error);
        Ok(())
    }
}
