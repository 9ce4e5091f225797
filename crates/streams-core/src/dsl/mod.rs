//! The DSL: what can be done with a stream.

mod agent;
mod cogroup;
mod compiler_hints;
mod distinct;
mod globals;
mod group_by;
mod grouped;
mod joins;
mod look_up;
mod map_async;
mod process;
mod sinks;
mod sources;
mod stateless;
mod tables;
mod ticks;
mod windowed;

use std::marker::PhantomData;

use crate::builder::Builder;
use crate::chain::{Chain, Then};
use crate::consumed::Extractor;
use crate::receive::{Port, Receive};
use crate::topic::Topic;
use crate::topology::{NodeId, NodeKind};

pub use agent::AgentBuilder;
pub(crate) use agent::AgentSource;
pub use cogroup::{Cogrouped, WindowCogrouped};
pub use grouped::{Aggregated, Grouped};
pub use joins::JoinBuffers;
pub use process::Process;
pub use tables::{BufferFull, ForeignTable, SentRows, Suppress, TableGrouped, TableStream};
pub use ticks::Ticks;
pub use windowed::{WindowAggregated, WindowGrouped};

/// Records with keys `K` and values `V` on their way from a source through operators.
///
/// A stream is used once: each method consumes it and returns the next. To use it twice,
/// [`share`](Stream::shared) it.
///
/// `C` is the chain of operators so far. Its type is different for every program, so that the
/// compiler can fuse the operators. A function that takes or returns a stream writes `impl
/// Chain<Key = K, Value = V>` instead:
///
/// ```
/// use headwater::prelude::*;
///
/// fn paid<'b>(
///     orders: Stream<'b, String, i64, impl Chain<Key = String, Value = i64>>,
/// ) -> Stream<'b, String, i64, impl Chain<Key = String, Value = i64>> {
///     orders.filter(|_, cents| *cents > 0).map_values(|cents| cents / 100)
/// }
///
/// let app = Builder::new("paid");
/// paid(app.stream(&Topic::new("orders"))).to(&Topic::new("euros"));
/// let topology = app.build()?;
/// # Ok::<(), headwater::errors::BuildError>(())
/// ```
///
/// Where a type must be written out, as in a struct, it is `Stream<'b, K, V>`.
/// [`boxed`](Stream::boxed), [`merge`](Stream::merge), `updates()` and others return that.
#[must_use = "a stream goes nowhere until it ends in a sink, a table or an aggregation"]
pub struct Stream<'b, K, V, C = Port<K, V>> {
    pub(crate) builder: &'b Builder,
    pub(crate) chain: C,
    pub(crate) node: NodeId,
    /// Set by operators that may change the key: a record may then be in the wrong partition for
    /// its key.
    pub(crate) key_changed: bool,
    of: PhantomData<fn() -> (K, V)>,
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    pub(crate) fn new(builder: &'b Builder, chain: C, node: NodeId) -> Self {
        Self { builder, chain, node, key_changed: false, of: PhantomData }
    }

    /// Appends an operator to the stream.
    pub(crate) fn then<O>(
        self,
        name: &'static str,
        operator: O,
    ) -> Stream<'b, O::Key, O::Value, Then<C, O>>
    where
        O: crate::receive::Operator<K, V>,
    {
        let node = self.add_node(name);
        let chain = Then { chain: self.chain, operator };
        let key_changed = self.key_changed;
        Stream { key_changed, ..Stream::new(self.builder, chain, node) }
    }

    /// Returns the stream with a type that can be written out, at the cost of a virtual call per
    /// record.
    ///
    /// ```
    /// use headwater::prelude::*;
    ///
    /// struct Orders<'b> {
    ///     paid: Stream<'b, String, i64>,
    /// }
    ///
    /// let app = Builder::new("paid");
    /// let orders = app.stream(&Topic::<String, i64>::new("orders"));
    /// let orders = Orders { paid: orders.filter(|_, cents| *cents > 0).boxed() };
    /// orders.paid.to(&Topic::new("paid"));
    /// let topology = app.build()?;
    /// # Ok::<(), headwater::errors::BuildError>(())
    /// ```
    pub fn boxed(self) -> Stream<'b, K, V> {
        let Self { builder, chain, node, key_changed, .. } = self;
        let port = Port::new();
        chain.connect(port.clone(), builder);
        Stream { key_changed, ..Stream::new(builder, port, node) }
    }

    pub(crate) fn rekeyed(mut self) -> Self {
        self.key_changed = true;
        self
    }

    pub(crate) fn add_node(&self, name: &'static str) -> NodeId {
        self.builder.graph(|graph| graph.add_node(NodeKind::Operator(name), &[self.node]))
    }
}

impl<K, V, C: Clone> Clone for Stream<'_, K, V, C> {
    fn clone(&self) -> Self {
        Self {
            builder: self.builder,
            chain: self.chain.clone(),
            node: self.node,
            key_changed: self.key_changed,
            of: PhantomData,
        }
    }
}

/// The start of a chain: a topic.
pub struct SourceChain<K, V> {
    pub(crate) topic: Topic<K, V>,
    pub(crate) timestamps: Option<Extractor<K, V>>,
}

impl<K: 'static, V: 'static> Chain for SourceChain<K, V> {
    type Key = K;
    type Value = V;

    fn connect(self, next: impl Receive<K, V>, builder: &Builder) {
        builder.add_receiver(self, next);
    }
}
