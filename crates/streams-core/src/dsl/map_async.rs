//! Calls for the records of a stream.

use std::future::Future;
use std::sync::Arc;

use super::AgentSource;
use super::Stream;
use crate::calls::{Async, Call, CallsRunner};
use crate::chain::Chain;
use crate::dsl::AgentBuilder;
use crate::error::BoxError;
use crate::intake::{Collect, RawChain};
use crate::receive::Port;
use crate::topology::{NodeId, NodeKind};

impl<'b, K, V, C> Stream<'b, K, V, C>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    C: Chain<Key = K, Value = V>,
{
    /// Replaces each value by the result of an `async` function, such as a call of a service.
    /// Several calls run at a time, and the results have the order of the records.
    ///
    /// Each record's call runs at least once, and its results are forwarded exactly once. If the
    /// task moves, is rewound or crashes, the calls in flight are repeated with the same
    /// [`Call::id`], so that the service can recognize a repetition. Commits do not wait for calls,
    /// and a call may take as long as it needs. If a call fails after the attempts that
    /// [`Async::retry`] allows, the source's error policy decides.
    ///
    /// Only operators that look at one record at a time may come between the topic and the calls,
    /// because the calls alone read the records again after a crash. `build()` refuses other
    /// operators; after those, `.repartition(name)` makes a topic. Anything may follow the calls.
    /// There, results are not ordered by time with the records of other inputs: a result continues
    /// as soon as it is available.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::prelude::*;
    /// use headwater::agents::{Async, Call};
    /// use headwater::errors::Backoff;
    ///
    /// async fn price(call: Call<String, String>) -> Result<u64, std::io::Error> {
    ///     // Here a service is asked; `call.id` is the request's idempotency key.
    ///     Ok(call.record.value.len() as u64)
    /// }
    ///
    /// let second = Duration::from_secs(1);
    /// let calls = Async::in_flight(64)
    ///     .timeout(5 * second)
    ///     .retry(3, Backoff::exponential(second, 10 * second));
    /// let app = Builder::new("prices");
    /// app.stream(&Topic::<String, String>::new("orders"))
    ///     .map_async("price", calls, price)
    ///     .to(&Topic::new("priced"));
    /// let topology = app.build()?;
    /// # Ok::<(), headwater::errors::BuildError>(())
    /// ```
    pub fn map_async<V2, F, Fut, E>(
        self,
        name: &str,
        settings: Async,
        function: F,
    ) -> Stream<'b, K, V2>
    where
        V2: Send + 'static,
        F: Fn(Call<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V2, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let builder = self.builder;
        let key_changed = self.key_changed;
        let parent = self.node;
        let name: Arc<str> = name.into();
        let node = builder.graph(|graph| {
            graph.check_name("the map_async", &name);
            graph.add_node(NodeKind::Calls(Arc::clone(&name)), &[parent])
        });
        let results = Port::new();
        if let Some((topic, intake)) = self.into_intake(&format!("map_async({name:?})")) {
            let runner = CallsRunner::new(name, settings, intake, results.clone(), function);
            builder.graph(|graph| graph.add_agent(&topic, Arc::new(runner)));
        }
        Stream { key_changed, ..Stream::new(builder, results, node) }
    }
}

impl<'b, K, V, C> Stream<'b, K, V, C>
where
    K: Send + 'static,
    V: Send + 'static,
    C: Chain<Key = K, Value = V>,
{
    /// Starts the description of an agent on the stream, as
    /// [`Builder::agent`](crate::Builder::agent) does for a topic. The agent receives what the
    /// operators make of the topic's records.
    ///
    /// Only operators that look at one record at a time may come in between; `build()` refuses
    /// others.
    ///
    /// ```
    /// use headwater::agents::{AgentResult, Context, Records};
    /// use headwater::{Builder, Topic};
    ///
    /// async fn warn(mut large: Records<String, i64>, _: Context) -> AgentResult {
    ///     while let Some(order) = large.next().await {
    ///         println!("{} orders for {} cents", order.key, order.value);
    ///     }
    ///     Ok(())
    /// }
    /// let app = Builder::new("warnings");
    /// let orders = app.stream(&Topic::<String, i64>::new("orders"));
    /// orders.filter(|_, cents| *cents > 1_000_000).agent("warn").run(warn);
    /// let topology = app.build()?;
    /// # Ok::<(), headwater::errors::BuildError>(())
    /// ```
    pub fn agent(self, name: &str) -> AgentBuilder<'b, K, V> {
        let builder = self.builder;
        let node = self.node;
        let found = self.into_intake(&format!("agent({name:?})"));
        let (topic, intake) = found.unzip();
        let topic = topic.unwrap_or_else(|| "".into());
        AgentBuilder::new(builder, name, AgentSource::Stream { topic, intake, node })
    }

    /// Returns the stream's operators for a reader of its own, and the topic. `None` is a problem
    /// of the topology.
    pub(crate) fn into_intake(self, reader: &str) -> Option<(Arc<str>, RawChain<K, V>)> {
        let builder = self.builder;
        let node = self.node;
        let is_stateless = builder.graph(|graph| graph.is_stateless(node));
        let found = builder.apart(|| self.chain.connect(Collect::new(), builder));
        let found = found.filter(|_| is_stateless);
        if found.is_none() {
            builder.problem(format!(
                "{reader} needs a topic before it, with only operators in between that look at one \
                 record at a time: after a crash, only those can repeat the records in flight; \
                 move it before the others, or make a topic: .repartition(\"{name}\").{reader}",
                name = suggested(node),
            ));
        }
        let (topic, chain) = found?;
        Some((topic, RawChain { chain, of: std::marker::PhantomData }))
    }
}

/// A name for a repartition topic that no other topic has.
fn suggested(node: NodeId) -> String {
    format!("step-{node}")
}
