//! How operators are fused: a stream is a chain of operators that becomes one nested receiver when
//! it is sealed.
//!
//! A [`Chain`] is built from the source on; [`Chain::connect`] turns it inside out, so that the
//! receiver at the source owns the receiver behind it, and the compiler sees the whole chain at
//! once. Only where data changes hands (at a source, behind an aggregation, at a branch, at
//! [`shared`](crate::Stream::shared)) is there a virtual call.

use std::marker::PhantomData;

use crate::builder::Builder;
use crate::error::Failure;
use crate::record::Record;
use crate::task_context::TaskContext;

pub use crate::receive::{Operator, Port, Receive, SharedReceiver};

/// Operators in a row, not yet connected to what comes behind them.
pub trait Chain: Sized {
    /// The type of the keys at its end.
    type Key: 'static;
    /// The type of the values at its end.
    type Value: 'static;

    /// Puts `next` behind the chain and the whole of it where its records come from.
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
    /// A place with any number of receivers, for a stream or table that is used more than once.
    pub(crate) fn shared_port<K: 'static, V: 'static>(&self) -> SharedReceiver<K, V> {
        let shared = SharedReceiver::new();
        let to_freeze = shared.clone();
        self.at_freeze(move || to_freeze.freeze());
        shared
    }
}
