//! What happens to the records of an agent that failed.

use std::mem;

use super::Pending;
use crate::error::{Cause, RecordError, TaskError};
use crate::task::Task;
use crate::task_context::Origin;
use crate::window::millis;

impl Task {
    /// Notes that the agent cannot receive a record. The record ends when all before it have ended.
    /// Until then the agent's position is before it, and after a crash it is read again.
    pub(in crate::task) fn blame(
        &mut self,
        input: usize,
        agent: usize,
        pending: Pending,
        cause: Cause,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let slot = &mut self.inputs[input].agents[agent];
        if slot.pending.is_empty() {
            return self.agent_gave_up(input, agent, pending, cause, failed);
        }
        slot.push(Pending { blamed: Some(cause), ..pending });
        Ok(())
    }

    /// Ends records that a batch has blamed, if nothing before them is left.
    pub(super) fn end_blamed(
        &mut self,
        input: usize,
        agent: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        loop {
            let slot = &mut self.inputs[input].agents[agent];
            let blamed = slot.pending.front_mut().and_then(|first| first.blamed.take());
            let Some((cause, pending)) = blamed.and_then(|cause| Some((cause, slot.pop()?))) else {
                return Ok(());
            };
            self.agent_gave_up(input, agent, pending, cause, failed)?;
        }
    }

    /// Handles an agent that ended with records. If it had one record, or if its batch blamed one,
    /// the error policy decides about that record. Otherwise the failed record is unknown, and all
    /// are delivered again one by one.
    pub(super) fn agent_failed(
        &mut self,
        input: usize,
        agent: usize,
        in_hand: usize,
        cause: Cause,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let running = self.new_agent(input, agent);
        // Records with the same key from the same batch would overtake the failed one before it has
        // ended.
        let holds = self.source(input).policy.retries().is_some_and(|retry| retry.hold_key);
        let slot = &mut self.inputs[input].agents[agent];
        let blamed = cause.blamed().map(|index| slot.running.of_topic(index));
        let blamed = blamed.filter(|index| *index < in_hand && !holds);
        slot.running = running;
        slot.is_waiting = false;
        let mut alone = 0;
        match blamed {
            Some(index) => {
                let mut given = slot.pending.iter_mut().filter(|one| one.blamed.is_none());
                if let Some(one) = given.nth(index) {
                    one.blamed = Some(cause);
                    self.touched = true;
                }
                self.end_blamed(input, agent, failed)?;
            }
            None if in_hand > 1 => alone = in_hand,
            None => {
                let pending = if in_hand == 1 { slot.pop() } else { None };
                let Some(pending) = pending else { return Err(self.other(cause.to_string())) };
                self.agent_gave_up(input, agent, pending, cause, failed)?;
                self.end_blamed(input, agent, failed)?;
            }
        }
        self.deliver_again(input, agent, failed)?;
        if alone > 0 {
            self.inputs[input].agents[agent].running.give_alone(alone);
        }
        Ok(())
    }

    /// Delivers to a new agent what the previous one has not acknowledged, unless it now waits for
    /// an earlier record.
    fn deliver_again(
        &mut self,
        input: usize,
        agent: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let slot = &mut self.inputs[input].agents[agent];
        slot.pending_bytes = 0;
        for pending in mem::take(&mut slot.pending) {
            let Pending { record, row, blamed } = &pending;
            let is_new = row.is_none() && blamed.is_none();
            let key = record.key.as_deref();
            let owned = || record.clone();
            if is_new && self.agent_is_held(input, agent, key, owned, failed)? {
                continue;
            }
            if blamed.is_none() {
                let raw = record.raw();
                let origin = Origin::of(input as u32, &raw);
                self.cx_mut().headers.clone_from(&record.headers);
                // The record could be decoded before. If that has changed, it is not the record's
                // fault.
                let again = self.deliver(input, agent, &raw, origin);
                again.map_err(|failure| self.other(failure.to_string()))?;
            }
            self.inputs[input].agents[agent].push(pending);
        }
        Ok(())
    }

    pub(super) fn end_if_too_long(
        &mut self,
        input: usize,
        agent: usize,
        failed: &mut Vec<RecordError>,
    ) -> Result<(), TaskError> {
        let runner = &self.source(input).agents[agent];
        let Some(limit) = runner.limit() else { return Ok(()) };
        let since = self.inputs[input].agents[agent].running.busy_since();
        let is_over = since.is_some_and(|since| since + millis(limit) <= self.cx().elapsed);
        if !is_over {
            return Ok(());
        }
        let operator = format!("agent {}", runner.name()).into();
        let source = format!("it has not asked for the next record within {limit:?}").into();
        let in_hand = self.inputs[input].agents[agent].running.in_hand();
        self.agent_failed(input, agent, in_hand, Cause::User { operator, source }, failed)
    }
}
