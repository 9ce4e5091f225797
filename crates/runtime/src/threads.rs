//! The threads of an instance: each turns one component until it is told to stop.

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
use crate::member::MemberMessage;

/// How long a component waits for something to do before it looks whether it is to stop.
const WAIT: Duration = Duration::from_millis(50);

pub(crate) struct Threads {
    threads: Vec<JoinHandle<()>>,
    /// Set: everybody ends as soon as he can.
    stop: Arc<AtomicBool>,
    notices: Sender<MemberMessage>,
    /// What went wrong; closed when all threads have ended.
    failures: UnboundedReceiver<AppError>,
}

impl Threads {
    /// `home` is let go when the last thread has ended: the state directory stays locked until
    /// then.
    pub(crate) fn start(instance: Instance, home: LocalState) -> std::io::Result<Self> {
        let home = Arc::new(home);
        let app = Arc::clone(instance.member.topology.application_id());
        let (failed, failures) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = Handle::try_current().ok();
        let spawner = Spawner { stop: Arc::clone(&stop), failed, runtime, home, app };
        let Instance { mut member, restorers, globals, workers, notices } = instance;
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
            // The others have nothing left to do; or, after a failure, must not go on alone.
            stop.store(true, Ordering::Release);
            // Who is no member any more has nobody to say goodbye to.
            if !matches!(result, Err(AppError::Membership(_))) {
                member.abandon();
            }
            result
        })?);
        Ok(Self { threads, stop, notices, failures })
    }

    /// The first failure; `None` when all threads have ended without one.
    pub(crate) async fn failure(&mut self) -> Option<AppError> {
        self.failures.recv().await
    }

    /// Asks for a graceful stop.
    pub(crate) fn stop_gracefully(&self) {
        let _ = self.notices.send(MemberMessage::Stop);
    }

    /// Ends what is left, without further commits, and waits for it. Blocks; bounded by the
    /// transport's time-outs.
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + Duration::from_secs(30);
        for thread in mem::take(&mut self.threads) {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                // A panic was reported by the thread itself.
                let _ = thread.join();
            } else {
                tracing::error!("a thread does not end; it is left behind");
            }
        }
    }
}

/// Whoever drops the application's future has ended it: nothing goes on behind his back.
impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Spawner {
    stop: Arc<AtomicBool>,
    failed: UnboundedSender<AppError>,
    runtime: Option<Handle>,
    home: Arc<LocalState>,
    app: Arc<str>,
}

impl Spawner {
    fn spawn(
        &self,
        name: &'static str,
        run: impl FnOnce(&AtomicBool) -> Result<(), AppError> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let (stop, failed) = (Arc::clone(&self.stop), self.failed.clone());
        let (runtime, home) = (self.runtime.clone(), Arc::clone(&self.home));
        let app = Arc::clone(&self.app);
        thread::Builder::new().name(format!("headwater-{name}")).spawn(move || {
            // So that agents can use timers and sockets of the user's tokio runtime.
            let _entered = runtime.as_ref().map(Handle::enter);
            let _span = tracing::info_span!("headwater", %app, thread = name).entered();
            let result = catch_unwind(AssertUnwindSafe(|| run(&stop))).unwrap_or_else(|panic| {
                let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
                let message = message.unwrap_or_else(|| "no message".to_owned());
                Err(AppError::Panicked { thread: name, message })
            });
            drop(home);
            if let Err(error) = result {
                let _ = failed.send(error);
            }
        })
    }
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
