//! The floor: the race's jobs J1 and J2 as hand-written loops over librdkafka, with no state on
//! disk and no changelog. No framework: it shows what client library, broker and machine leave to
//! be shared out.
//!
//! The environment says what to do, as for all programs of the race: `BOOTSTRAP`, `APP_ID`,
//! `GUARANTEE` (`eos`, `alo`), `JOB`, `INPUT`, `OUTPUT`, `PARTITIONS`, `COMMIT_MS`, `THREADS`.
//! `PARSE=1` makes J2 parse the JSON, which a count does not need and every framework does.

mod batch;
mod client;
mod job;
mod worker;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: i32) {
    STOP.store(true, Ordering::Relaxed);
}

pub(crate) fn stopping() -> bool {
    STOP.load(Ordering::Relaxed)
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) bootstrap: String,
    pub(crate) app_id: String,
    pub(crate) job: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) parse: bool,
    pub(crate) exactly_once: bool,
    pub(crate) commit_every: Duration,
    pub(crate) threads: usize,
    /// Of every topic.
    pub(crate) partitions: usize,
}

impl Settings {
    fn from_environment() -> Result<Self> {
        let exactly_once = env("GUARANTEE", "eos") == "eos";
        let commit_ms = env("COMMIT_MS", if exactly_once { "100" } else { "1000" });
        Ok(Self {
            bootstrap: env("BOOTSTRAP", "127.0.0.1:9092"),
            app_id: env("APP_ID", "floor"),
            job: env("JOB", "J1"),
            input: env("INPUT", "orders"),
            output: env("OUTPUT", "out"),
            parse: env("PARSE", "") == "1",
            exactly_once,
            commit_every: Duration::from_millis(commit_ms.parse()?),
            threads: env("THREADS", "1").parse()?,
            partitions: env("PARTITIONS", "4").parse()?,
        })
    }
}

fn env(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or(default.to_owned())
}

fn main() -> Result<()> {
    let handler = on_signal as *const () as libc::sighandler_t;
    // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
    unsafe {
        libc::signal(libc::SIGTERM, handler);
        libc::signal(libc::SIGINT, handler);
    }
    let settings = Settings::from_environment()?;
    let threads: Vec<_> = (0..settings.threads)
        .map(|thread| {
            let settings = settings.clone();
            std::thread::spawn(move || {
                let result = worker::run(&settings, thread);
                // One that ends takes the others along: a row is all of its threads.
                STOP.store(true, Ordering::Relaxed);
                result
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}
