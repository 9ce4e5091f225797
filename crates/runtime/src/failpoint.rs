//! Named steps at which a test can end the process, as by `kill -9`.
//!
//! With the feature `failpoints` and `HEADWATER_FAILPOINT=name:n` in the environment the process
//! ends when it reaches the step `name` for the `n`th time. Without the feature, none of this is
//! in the program.

/// Defines the names that `reach` is called with, and a list of them for tests.
macro_rules! failpoints {
    ($($constant:ident = $name:literal,)*) => {
        $(pub(crate) const $constant: &str = $name;)*
        /// The names of all steps.
        #[cfg(feature = "failpoints")]
        pub const FAILPOINTS: &[&str] = &[$($name),*];
    };
}

failpoints! {
    COMMIT_PREPARED = "commit.prepared",
    COMMIT_SENT = "commit.sent",
    COMMIT_OFFSETS = "commit.offsets",
    COMMIT_COMMITTED = "commit.committed",
    COMMIT_APPLIED = "commit.applied",
    RESTORE_OPENED = "restore.opened",
    RESTORE_OFFSETS = "restore.offsets",
    RESTORE_ENDS = "restore.ends",
    RESTORE_READ = "restore.read",
    RESTORE_READY = "restore.ready",
    REBALANCE_ASSIGNED = "rebalance.assigned",
    REBALANCE_REVOKED = "rebalance.revoked",
    REBALANCE_CLOSED = "rebalance.closed",
    REBALANCE_UNASSIGNED = "rebalance.unassigned",
    SHUTDOWN_ASKED = "shutdown.asked",
    SHUTDOWN_LEAVING = "shutdown.leaving",
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn reach(_: &'static str) {}

#[cfg(feature = "failpoints")]
pub(crate) fn reach(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("HEADWATER_FAILPOINT").ok()?;
        let (name, times) = text.split_once(':')?;
        Some((name.to_owned(), times.parse().ok()?))
    });
    let Some((_, times)) = wanted.as_ref().filter(|(wanted, _)| wanted == name) else { return };
    if REACHED.fetch_add(1, Ordering::AcqRel) + 1 == *times {
        let id = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &id]).status();
        // The signal takes a moment to arrive.
        loop {
            std::thread::park();
        }
    }
}
