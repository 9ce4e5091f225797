//! What receives records: operators, and the ports where records change hands.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Failure;
use crate::record::Record;
use crate::task_context::TaskContext;

/// A receiver of records.
pub trait Receive<K, V>: Send + Sync + 'static {
    /// Processes a record completely, including everything downstream.
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure>;
}

/// One step of a chain: it receives a record and forwards any number of records.
pub trait Operator<K, V>: Send + Sync + 'static {
    /// The type of the keys that it forwards.
    type Key: 'static;
    /// The type of the values that it forwards.
    type Value: 'static;

    /// Processes one record.
    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<Self::Key, Self::Value>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>;
}

/// A port in the topology with at most one receiver. Without a receiver, records are dropped.
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

    /// Connects the receiver. Returns `false` if there already was one.
    pub(crate) fn set(&self, next: impl Receive<K, V>) -> bool {
        self.0.set(Box::new(next)).is_ok()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.get().is_some()
    }
}

impl<K: 'static, V: 'static> Receive<K, V> for Port<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        self.0.get().map_or(Ok(()), |next| next.receive(record, cx))
    }
}

/// A port in the topology with any number of receivers, each of which gets every record.
pub struct SharedReceiver<K, V>(Arc<Fanout<K, V>>);

struct Fanout<K, V> {
    /// Filled while the topology is built, emptied when it is frozen.
    building: Mutex<Vec<Box<dyn Receive<K, V>>>>,
    frozen: OnceLock<Box<[Box<dyn Receive<K, V>>]>>,
}

impl<K, V> Clone for SharedReceiver<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: 'static, V: 'static> SharedReceiver<K, V> {
    /// Creates a port without receivers. They get records once it is [frozen](Self::freeze).
    pub(crate) fn new() -> Self {
        Self(Arc::new(Fanout { building: Mutex::new(Vec::new()), frozen: OnceLock::new() }))
    }

    /// Adds a receiver.
    pub(crate) fn add(&self, next: impl Receive<K, V>) {
        let mut building = self.0.building.lock().unwrap_or_else(PoisonError::into_inner);
        building.push(Box::new(next));
    }

    /// Ends the adding of receivers.
    pub(crate) fn freeze(&self) {
        let mut building = self.0.building.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.0.frozen.set(std::mem::take(&mut *building).into());
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Receive<K, V> for SharedReceiver<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let Some((last, others)) = self.0.frozen.get().and_then(|all| all.split_last()) else {
            return Ok(());
        };
        for receiver in others {
            receiver.receive(record.clone(), cx)?;
        }
        last.receive(record, cx)
    }
}
