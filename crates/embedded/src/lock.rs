//! Mutexes whose poison does not matter.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. Code under our locks does not panic half-way through a change on any input;
/// should it do so all the same, the other threads had rather go on than panic one after another.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
