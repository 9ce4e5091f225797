//! The embedded log is a transport like any other: in memory, and on disk.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_embedded::EmbeddedLog;
use testkit::conformance::Env;

fn env(log: EmbeddedLog, case: &str) -> Env {
    let mut env = Env::new(Arc::new(log.clone()), case);
    env.patience = Duration::from_secs(20);
    env.quiet = Duration::from_millis(20);
    env.session_timeout = Duration::from_millis(600);
    env.maintain = Some(Arc::new(move |later| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + later;
        log.maintain(now.as_millis() as i64).unwrap();
    }));
    env
}

mod in_memory {
    use super::*;

    fn in_memory(case: &str) -> Env {
        env(EmbeddedLog::in_memory(), case)
    }

    testkit::transport_conformance!(in_memory);
}

mod on_disk {
    use super::*;

    fn on_disk(case: &str) -> Env {
        // The directory may be removed: the file is open, and ends with the process.
        let directory = tempfile::tempdir().unwrap();
        env(EmbeddedLog::open(directory.path()).unwrap(), case)
    }

    testkit::transport_conformance!(on_disk);
}
