//! An agent in the topology, which is started once for each task.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use super::AgentResult;
use super::concurrent::Concurrent;
use super::context::{Context, Declared};
use super::link::{Acknowledged, Link};
use super::records::Records;
use super::running::{RecordSource, Running, RunningAgent};
use super::{AgentRunner, StartedFor};
use crate::operators::event_time;
use crate::record::{RawRecord, Timestamp};

pub(crate) type Start<K, V> = Box<
    dyn Fn(Records<K, V>, Context) -> Pin<Box<dyn Future<Output = AgentResult> + Send>>
        + Send
        + Sync,
>;

/// The user's function, and what was declared for it.
pub(crate) struct Agent<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) source: RecordSource<K, V>,
    pub(crate) declared: Arc<Declared>,
    pub(crate) start: Start<K, V>,
}

impl<K: Send + 'static, V: Send + 'static> Agent<K, V> {
    /// Creates a new future, which is not yet polled.
    pub(super) fn start(
        &self,
        task: &StartedFor,
        acknowledged: Acknowledged,
    ) -> RunningAgent<K, V> {
        let inbox = Arc::new(Mutex::new(VecDeque::new()));
        let link = Link::new(task, acknowledged);
        let context = Context {
            link: Arc::clone(&link),
            declared: Arc::clone(&self.declared),
            topic: Arc::clone(&task.topic),
            partition: task.partition,
        };
        let records = Records { inbox: Arc::clone(&inbox), link: Arc::clone(&link) };
        RunningAgent {
            name: Arc::clone(&self.name),
            source: self.source.clone(),
            made_of_one: VecDeque::new(),
            of_first: 0,
            inbox,
            waker: Waker::from(Arc::clone(&link.wakeup)),
            link,
            future: (self.start)(records, context),
        }
    }
}

pub(crate) struct Runner<K, V> {
    pub(crate) agent: Arc<Agent<K, V>>,
    pub(crate) limit: Option<Duration>,
    pub(crate) concurrency: usize,
}

impl<K: Send + 'static, V: Send + 'static> AgentRunner for Runner<K, V> {
    fn name(&self) -> &Arc<str> {
        &self.agent.name
    }

    fn start(&self, task: &StartedFor) -> Box<dyn Running> {
        if self.concurrency > 1 {
            return Box::new(Concurrent::new(&self.agent, self.concurrency, self.limit, task));
        }
        Box::new(self.agent.start(task, Acknowledged::Done))
    }

    fn limit(&self) -> Option<Duration> {
        // Several futures each have their own limit.
        self.limit.filter(|_| self.concurrency == 1)
    }

    fn feeds_operators(&self) -> bool {
        false
    }

    fn is_concurrent(&self) -> bool {
        self.concurrency > 1
    }

    fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp> {
        match &self.agent.source {
            RecordSource::Topic { topic, timestamps } => {
                event_time(topic, timestamps.as_ref(), record)
            }
            RecordSource::Stream(intake) => intake.event_time(record),
        }
    }

    fn extracts_times(&self) -> bool {
        match &self.agent.source {
            RecordSource::Topic { timestamps, .. } => timestamps.is_some(),
            RecordSource::Stream(intake) => intake.extracts_times(),
        }
    }
}
