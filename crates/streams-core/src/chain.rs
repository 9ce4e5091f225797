//! How operators are fused: a stream is a chain of operators, which becomes one nested receiver
//! when the stream ends.
//!
//! A [`Chain`] is built from the source on. [`Chain::connect`] turns it inside out: the receiver at
//! the source owns the receiver after it, so the compiler sees the whole chain at once. Virtual
//! calls happen only where records change hands: at a source, after an aggregation, at a branch, at
//! [`shared`](crate::Stream::shared).

use std::marker::PhantomData;

use crate::builder::Builder;
use crate::error::Failure;
use crate::record::Record;
use crate::task_context::TaskContext;

pub use crate::receive::{Operator, Port, Receive, SharedReceiver};

/// A sequence of operators that is not yet connected to a receiver.
pub trait Chain: Sized {
    /// The type of the keys at its end.
    type Key: 'static;
    /// The type of the values at its end.
    type Value: 'static;

    /// Appends `next` to the chain and connects the result to the chain's source.
    fn connect(self, next: impl Receive<Self::Key, Self::Value>, builder: &Builder);
}

/// A chain with one more operator.
pub struct Then<C, O> {
    pub(crate) chain: C,
    pub(crate) operator: O,
}

impl<C: Chain, O: Operator<C::Key, C::Value>> Chain for Then<C, O> {
    type Key = O::Key;
    type Value = O::Value;

    fn connect(self, next: impl Receive<O::Key, O::Value>, builder: &Builder) {
        let fused =
            Fused::<C::Key, C::Value, O, _> { operator: self.operator, next, of: PhantomData };
        self.chain.connect(fused, builder);
    }
}

/// An operator with its receiver.
struct Fused<K, V, O, R> {
    operator: O,
    next: R,
    of: PhantomData<fn(K, V)>,
}

impl<K: 'static, V: 'static, O, R> Receive<K, V> for Fused<K, V, O, R>
where
    O: Operator<K, V>,
    R: Receive<O::Key, O::Value>,
{
    #[inline]
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        self.operator.apply(record, &self.next, cx)
    }
}

impl<K: 'static, V: 'static> Chain for Port<K, V> {
    type Key = K;
    type Value = V;

    fn connect(self, next: impl Receive<K, V>, builder: &Builder) {
        if !self.set(next) {
            builder.problem("a stream was connected twice".to_owned());
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Chain for SharedReceiver<K, V> {
    type Key = K;
    type Value = V;

    fn connect(self, next: impl Receive<K, V>, _: &Builder) {
        self.add(next);
    }
}

impl Builder {
    /// A port with any number of receivers, for a stream or table that is used more than once.
    pub(crate) fn shared_port<K: 'static, V: 'static>(&self) -> SharedReceiver<K, V> {
        let shared = SharedReceiver::new();
        let to_freeze = shared.clone();
        self.at_freeze(move || to_freeze.freeze());
        shared
    }
}
