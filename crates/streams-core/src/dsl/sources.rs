//! Where streams and agents begin: the topics that they read.

use std::sync::Arc;

use super::agent::AgentSource;
use super::{AgentBuilder, SourceChain, Stream};
use crate::builder::{Builder, Types};
use crate::operators::Decode;
use crate::policy::Consumed;
use crate::receive::Receive;
use crate::topic::Topic;
use crate::topology::SourceKind;

impl Builder {
    /// Returns the records of a topic as a stream.
    ///
    /// If it is called twice for the same topic, both streams get every record, in one task.
    pub fn stream<'b, K: 'static, V: 'static>(
        &'b self,
        topic: &Topic<K, V>,
    ) -> Stream<'b, K, V, SourceChain<K, V>> {
        self.stream_with(topic, Consumed::new())
    }

    /// Returns the records of a topic as a stream, with options.
    pub fn stream_with<'b, K: 'static, V: 'static>(
        &'b self,
        topic: &Topic<K, V>,
        consumed: Consumed<K, V>,
    ) -> Stream<'b, K, V, SourceChain<K, V>> {
        self.source(topic, consumed, SourceKind::User)
    }

    /// Starts the description of an agent: an `async` function over the records of a topic.
    pub fn agent<'b, K, V>(&'b self, name: &str, topic: &Topic<K, V>) -> AgentBuilder<'b, K, V>
    where
        K: Send + 'static,
        V: Send + 'static,
    {
        let user = format!("the agent {name}");
        self.graph(|graph| graph.use_topic(&topic.name, user, Types::of_topic(topic)));
        let topic = topic.clone();
        let consumed = Consumed::new();
        AgentBuilder::new(self, name, AgentSource::Topic { topic, consumed })
    }

    pub(crate) fn source<'b, K: 'static, V: 'static>(
        &'b self,
        topic: &Topic<K, V>,
        consumed: Consumed<K, V>,
        kind: SourceKind,
    ) -> Stream<'b, K, V, SourceChain<K, V>> {
        let Consumed { start, policy, max_ahead_ms, timestamps } = consumed;
        let node =
            self.graph(|graph| graph.add_source(&topic.name, kind, start, policy, max_ahead_ms));
        if kind == SourceKind::User {
            let types = Types::of_topic(topic);
            self.graph(|graph| graph.use_topic(&topic.name, "the stream that is read", types));
        }
        let chain = SourceChain { topic: topic.clone(), timestamps };
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
