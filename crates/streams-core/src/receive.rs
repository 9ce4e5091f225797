//! What takes records: operators, and the places in a topology where records change hands.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Failure;
use crate::record::Record;
use crate::task_context::TaskContext;

/// Takes records.
pub trait Receive<K, V>: Send + Sync + 'static {
    /// Processes a record to its end, with everything behind it.
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure>;
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
        cx: &mut TaskContext,
    ) -> Result<(), Failure>;
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

    /// Connects it; `false` if it was connected before.
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

/// A place in the topology with any number of receivers, each of which gets every record.
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
    /// Without receivers. They are reached once it is [frozen](Self::freeze).
    pub(crate) fn new() -> Self {
        Self(Arc::new(Fanout { building: Mutex::new(Vec::new()), frozen: OnceLock::new() }))
    }

    /// Adds a receiver.
    pub(crate) fn add(&self, next: impl Receive<K, V>) {
        let mut building = self.0.building.lock().unwrap_or_else(PoisonError::into_inner);
        building.push(Box::new(next));
    }

    /// No receiver is added any more.
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
