//! Where streams and agents begin: the topics that they read.

use std::sync::Arc;

use super::agent::AgentSource;
use super::{AgentBuilder, SourceChain, Stream};
use crate::builder::{Builder, Types};
use crate::consumed::{Consumed, StreamSource};
use crate::operators::Decode;
use crate::receive::Receive;
use crate::topology::SourceKind;

impl Builder {
    /// Returns the records of a topic as a stream. The source is `&topic`, or
    /// [`topic.consumed()`](crate::Topic::consumed) with options.
    ///
    /// If it is called twice for the same topic, both streams get every record, in one task.
    pub fn stream<S: StreamSource>(
        &self,
        source: S,
    ) -> Stream<'_, S::Key, S::Value, SourceChain<S::Key, S::Value>> {
        self.source(source.into_consumed(), SourceKind::User)
    }

    /// Starts the description of an agent: an `async` function over the records of a topic. The
    /// source is `&topic`, or [`topic.consumed()`](crate::Topic::consumed) with options.
    pub fn agent<S>(&self, name: &str, source: S) -> AgentBuilder<'_, S::Key, S::Value>
    where
        S: StreamSource<Key: Send, Value: Send>,
    {
        let consumed = source.into_consumed();
        let topic = &consumed.topic;
        let user = format!("the agent {name}");
        self.graph(|graph| graph.use_topic(&topic.name, user, Types::of_topic(topic)));
        AgentBuilder::new(self, name, AgentSource::Topic(consumed))
    }

    pub(crate) fn source<K: 'static, V: 'static>(
        &self,
        consumed: Consumed<K, V>,
        kind: SourceKind,
    ) -> Stream<'_, K, V, SourceChain<K, V>> {
        let Consumed { topic, start, policy, max_ahead_ms, timestamps } = consumed;
        let start = start.unwrap_or_default();
        let node =
            self.graph(|graph| graph.add_source(&topic.name, kind, start, policy, max_ahead_ms));
        if kind == SourceKind::User {
            let types = Types::of_topic(&topic);
            self.graph(|graph| graph.use_topic(&topic.name, "the stream that is read", types));
        }
        let chain = SourceChain { topic, timestamps };
        Stream::new(self, chain, node)
    }

    pub(crate) fn add_receiver<K: 'static, V: 'static>(
        &self,
        chain: SourceChain<K, V>,
        next: impl Receive<K, V>,
    ) {
        let SourceChain { topic, timestamps } = chain;
        let name = Arc::clone(&topic.name);
        let receiver = Decode { topic, timestamps, next };
        self.graph(|graph| graph.add_receiver(&name, Box::new(receiver)));
    }
}
