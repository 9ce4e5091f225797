//! Locks whatever a panic left behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it; a panic of another holder is that one's business.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
