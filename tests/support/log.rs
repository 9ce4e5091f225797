//! The log lines of instances, for tests that wait for one.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Everything that is logged in this process since [`Log::start`].
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Once in a process.
    pub fn start() -> Self {
        let log = Self::default();
        let written = log.clone();
        tracing_subscriber::fmt().with_writer(move || written.clone()).with_ansi(false).init();
        log
    }

    /// How often this text was logged.
    pub fn says(&self, what: &str) -> usize {
        let log = self.0.lock().expect("no panic");
        String::from_utf8_lossy(&log).matches(what).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
