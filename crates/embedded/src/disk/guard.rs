//! The boundary around redb, which may panic on a damaged file. After a panic nothing may write any
//! more.

use std::any::Any;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{BackendError, StorageBackend};

use super::RedbResult;

/// The prefix of an error that was a panic.
const STUMBLED: &str = "redb panicked";

/// Runs `work`; a panic inside becomes an error. After that the database must be severed and
/// [discarded](discard), because its state may be half changed.
pub(super) fn guarded<T>(work: impl FnOnce() -> RedbResult<T>) -> RedbResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let why = message(&*panic);
        // The payload's destructor is foreign code too.
        std::mem::forget(panic);
        Err(redb::Error::Corrupted(format!("{STUMBLED} ({why})")))
    })
}

/// Drops part of a database whose storage was severed because of `error`. After a panic its
/// destructor does not run: a second panic would abort the process.
pub(super) fn discard<T>(part: T, error: &redb::Error) {
    match error {
        redb::Error::Corrupted(text) if text.starts_with(STUMBLED) => std::mem::forget(part),
        _ => drop(guarded(|| {
            drop(part);
            Ok(())
        })),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

/// A storage that can be closed under the database that uses it.
#[derive(Clone, Debug)]
pub(super) struct Storage(Arc<RwLock<Option<Box<dyn StorageBackend>>>>);

impl Storage {
    pub(super) fn new(backend: impl StorageBackend) -> Self {
        Self(Arc::new(RwLock::new(Some(Box::new(backend)))))
    }

    /// Closes the storage: every later access fails, and its locks are released.
    pub(super) fn sever(&self) {
        let backend = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        // The first error is the one to report.
        let _ = backend.map(|backend| backend.close());
    }

    fn with<T>(&self, access: impl FnOnce(&dyn StorageBackend) -> io::Result<T>) -> io::Result<T> {
        let guard: RwLockReadGuard<'_, _> = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &*guard {
            Some(backend) => access(&**backend),
            None => Err(io::Error::other("the log has stopped")),
        }
    }

    fn with_lock<T>(
        &self,
        access: impl FnOnce(&dyn StorageBackend) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let guard: RwLockReadGuard<'_, _> = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &*guard {
            Some(backend) => access(&**backend),
            None => Err(io::Error::other("the log has stopped").into()),
        }
    }
}

impl StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.with(|backend| backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|backend| backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|backend| backend.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|backend| backend.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|backend| backend.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        let backend = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        backend.map_or(Ok(()), |backend| backend.close())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.with_lock(|backend| backend.try_lock_range(start, end))
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.with_lock(|backend| backend.try_lock_shared_range(start, end))
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.with_lock(|backend| backend.lock_range(start, end))
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.with_lock(|backend| backend.lock_shared_range(start, end))
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.with_lock(|backend| backend.unlock_range(start, end))
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.with_lock(|backend| backend.query_lock_range(start, end))
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_a_severed_storage_takes_nothing() {
        let error = guarded::<()>(|| panic!("page {} is odd", 7)).unwrap_err();
        assert!(error.to_string().contains("page 7 is odd"), "{error}");
        struct Explosive;
        impl Drop for Explosive {
            fn drop(&mut self) {
                panic!("in a destructor");
            }
        }
        discard(Explosive, &error);
        discard(Explosive, &redb::Error::DatabaseClosed);
        let storage = Storage::new(InMemoryBackend::new());
        storage.set_len(10).unwrap();
        storage.sever();
        assert!(storage.write(0, b"x").is_err() && storage.len().is_err());
    }
}
