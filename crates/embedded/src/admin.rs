//! Describes, creates and trims topics.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{Admin, NewTopic, Result, TopicInfo};
use streams_core::TopicPartition;

use crate::shared::SharedLog;

#[derive(Debug)]
pub(crate) struct EmbeddedAdmin(Arc<SharedLog>);

impl EmbeddedAdmin {
    pub(crate) fn new(shared: Arc<SharedLog>) -> Self {
        Self(shared)
    }
}

impl Admin for EmbeddedAdmin {
    fn describe(&mut self, topics: &[Arc<str>], _: Duration) -> Result<Vec<Option<TopicInfo>>> {
        let state = self.0.lock();
        state.check_health()?;
        Ok(topics.iter().map(|name| state.topics.get(name).map(|topic| topic.info())).collect())
    }

    fn create(&mut self, topic: &NewTopic, _: Duration) -> Result<()> {
        let mut state = self.0.lock();
        state.check_health()?;
        state.create_topic(topic)?;
        drop(state);
        self.0.notify_groups();
        self.0.sync()
    }

    fn delete_records(&mut self, before: &[(TopicPartition, i64)], _: Duration) -> Result<()> {
        let mut state = self.0.lock();
        state.check_health()?;
        for (partition, offset) in before {
            let id = state.partition_id("delete records of", partition)?;
            // Records from the last stable offset on may belong to an open transaction: they stay.
            let before = (*offset).min(state.partition(id).stable());
            state.trim(id, before);
        }
        drop(state);
        self.0.sync()
    }
}
