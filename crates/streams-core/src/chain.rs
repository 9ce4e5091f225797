//! How operators are fused: a stream is a chain of operators that becomes one nested receiver when
//! it is sealed.
//!
//! A [`Chain`] is built from the source on; [`Chain::connect`] turns it inside out, so that the
//! receiver at the source owns the receiver behind it, and the compiler sees the whole chain at
//! once. Only where data changes hands (at a source, behind an aggregation, at a branch, at
//! [`shared`](crate::Stream::shared)) is there a virtual call.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::builder::Builder;
use crate::cx::Cx;
use crate::error::Failure;
use crate::record::Record;

/// Takes records.
pub trait Receive<K, V>: Send + Sync + 'static {
    /// Processes a record to its end, with everything behind it.
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure>;
}

/// One step of a chain: takes a record and hands on any number of records.
pub trait Operator<K, V>: Send + Sync + 'static {
    /// The type of the keys that it hands on.
    type Key: 'static;
    /// The type of the values that it hands on.
    type Value: 'static;

    /// Processes one record.
    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<Self::Key, Self::Value>,
        cx: &mut Cx,
    ) -> Result<(), Failure>;
}

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
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure> {
        self.operator.apply(record, &self.next, cx)
    }
}

/// A place in the topology with at most one receiver behind it; records go nowhere if there is
/// none.
pub struct Port<K, V>(Arc<OnceLock<Box<dyn Receive<K, V>>>>);

impl<K, V> Clone for Port<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: 'static, V: 'static> Port<K, V> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.get().is_some()
    }
}

impl<K: 'static, V: 'static> Receive<K, V> for Port<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure> {
        self.0.get().map_or(Ok(()), |next| next.receive(record, cx))
    }
}

impl<K: 'static, V: 'static> Chain for Port<K, V> {
    type Key = K;
    type Value = V;

    fn connect(self, next: impl Receive<K, V>, builder: &Builder) {
        if self.0.set(Box::new(next)).is_err() {
            builder.problem("a stream was connected twice".to_owned());
        }
    }
}

/// A place in the topology with any number of receivers, each of which gets every record.
pub struct Shared<K, V>(Arc<Fanout<K, V>>);

struct Fanout<K, V> {
    /// Filled while the topology is built, emptied when it is frozen.
    building: Mutex<Vec<Box<dyn Receive<K, V>>>>,
    frozen: OnceLock<Box<[Box<dyn Receive<K, V>>]>>,
}

impl<K, V> Clone for Shared<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Shared<K, V> {
    pub(crate) fn new(builder: &Builder) -> Self {
        let fanout = Arc::new(Fanout { building: Mutex::new(Vec::new()), frozen: OnceLock::new() });
        let to_freeze = Arc::clone(&fanout);
        builder.at_freeze(move || to_freeze.freeze());
        Self(fanout)
    }
}

impl<K, V> Fanout<K, V> {
    fn freeze(&self) {
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.frozen.set(std::mem::take(&mut *building).into());
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, V> for Shared<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut Cx) -> Result<(), Failure> {
        let Some((last, others)) = self.0.frozen.get().and_then(|all| all.split_last()) else {
            return Ok(());
        };
        for receiver in others {
            receiver.receive(record.clone(), cx)?;
        }
        last.receive(record, cx)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Chain for Shared<K, V> {
    type Key = K;
    type Value = V;

    fn connect(self, next: impl Receive<K, V>, _: &Builder) {
        let mut building = self.0.building.lock().unwrap_or_else(PoisonError::into_inner);
        building.push(Box::new(next));
    }
}
