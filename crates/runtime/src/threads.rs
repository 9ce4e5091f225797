//! The threads of an instance: each turns one component until it is told to stop.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::AppError;
use crate::instance::Instance;
use crate::local_state::LocalState;
use crate::messages::MemberMessage;

/// How long a component waits for something to do before it checks whether it has to stop.
const WAIT: Duration = Duration::from_millis(50);

/// How long a thread may take to end: a request to the log may have to time out first.
const END_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Threads {
    threads: Vec<JoinHandle<()>>,
    /// Set when all threads have to end as soon as they can.
    stop: Arc<AtomicBool>,
    to_member: Sender<MemberMessage>,
    /// The errors of threads; closed when all threads have ended.
    failures: UnboundedReceiver<AppError>,
}

impl Threads {
    /// `local_state` is dropped when the last thread has ended: the state directory stays locked
    /// until then.
    pub(crate) fn start(
        instance: Instance,
        local_state: LocalState,
        app: Arc<str>,
    ) -> std::io::Result<Self> {
        let local_state = Arc::new(local_state);
        let (failed, failures) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = Handle::try_current().ok();
        let spawner = Spawner { stop: Arc::clone(&stop), failed, runtime, local_state, app };
        let Instance { mut member, restorers, globals, workers, to_member } = instance;
        let mut threads = Vec::new();
        for mut worker in workers {
            threads.push(spawner.spawn("worker", move |stop| {
                let result = worker
                    .start()
                    .and_then(|()| turn_until(stop, || worker.turn(WAIT).map(|()| true)));
                worker.stop();
                result
            })?);
        }
        for mut restorer in restorers {
            threads.push(spawner.spawn("restorer", move |stop| {
                turn_until(stop, || restorer.turn(WAIT).map(|()| true))
            })?);
        }
        if let Some(mut globals) = globals {
            threads.push(spawner.spawn("globals", move |stop| {
                let result = turn_until(stop, || globals.turn(WAIT).map(|()| true));
                globals.stop();
                result
            })?);
        }
        threads.push(spawner.spawn("member", move |stop| {
            let result = turn_until(stop, || member.turn(WAIT));
            // The other threads have nothing left to do; or, after a failure, must not go on
            // without a member.
            stop.store(true, Ordering::Release);
            // An instance that is not a member any more has no group to leave.
            if !matches!(result, Err(AppError::Membership(_))) {
                member.abandon();
            }
            result
        })?);
        Ok(Self { threads, stop, to_member, failures })
    }

    /// The first failure; `None` when all threads have ended without one.
    pub(crate) async fn failure(&mut self) -> Option<AppError> {
        self.failures.recv().await
    }

    /// Asks for a graceful stop.
    pub(crate) fn stop_gracefully(&self) {
        let _ = self.to_member.send(MemberMessage::Stop);
    }

    /// Ends the threads that are left, without further commits, and waits for them. Blocks, at most
    /// for [`END_TIMEOUT`].
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + END_TIMEOUT;
        for thread in mem::take(&mut self.threads) {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                // A panic was reported by the thread itself.
                let _ = thread.join();
            } else {
                tracing::error!("a thread does not end; the application ends without it");
            }
        }
    }
}

/// Dropping the application's future ends it, so its threads must not go on.
impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Spawner {
    stop: Arc<AtomicBool>,
    failed: UnboundedSender<AppError>,
    runtime: Option<Handle>,
    local_state: Arc<LocalState>,
    app: Arc<str>,
}

impl Spawner {
    fn spawn(
        &self,
        name: &'static str,
        run: impl FnOnce(&AtomicBool) -> Result<(), AppError> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let stop = Arc::clone(&self.stop);
        let failed = self.failed.clone();
        let runtime = self.runtime.clone();
        let local_state = Arc::clone(&self.local_state);
        let app = Arc::clone(&self.app);
        thread::Builder::new().name(format!("headwater-{name}")).spawn(move || {
            // Agents can use timers and sockets of the user's tokio runtime.
            let _entered = runtime.as_ref().map(Handle::enter);
            let _span = tracing::info_span!("headwater", %app, thread = name).entered();
            let result = catch_unwind(AssertUnwindSafe(|| run(&stop))).unwrap_or_else(|panic| {
                Err(AppError::Panicked { thread: name, message: panic_message(&*panic) })
            });
            // Before the error is sent: the next start may need the state directory at once.
            drop(local_state);
            if let Err(error) = result {
                let _ = failed.send(error);
            }
        })
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

fn turn_until(
    stop: &AtomicBool,
    mut turn: impl FnMut() -> Result<bool, AppError>,
) -> Result<(), AppError> {
    while !stop.load(Ordering::Acquire) {
        if !turn()? {
            return Ok(());
        }
    }
    Ok(())
}
