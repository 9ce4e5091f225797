//! Tokio's time for agents under test: it stands still until the test moves it.
//!
//! Agents and the tasks that they spawn live in a tokio runtime with a paused clock. A paused clock
//! advances by itself whenever the runtime is idle, so the runtime is driven only here: up to a
//! moment chosen by the test, or until no spawned task can proceed.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::time::{Instant, sleep_until};

use crate::lock::lock;

thread_local! {
    /// The virtual time of this thread, while tasks are stepped or spawned tasks run.
    static HERE: Cell<Option<CurrentTime>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct CurrentTime {
    epoch: Epoch,
    /// Whether any runtime polls a future on this thread.
    in_block_on: bool,
}

/// A tokio instant, and the matching moment of the test.
#[derive(Clone, Copy)]
struct Epoch {
    instant: Instant,
    since_start: Duration,
}

/// How long the test has been running in virtual time; `None` where time is real.
pub(crate) fn since_start() -> Option<Duration> {
    let CurrentTime { epoch, .. } = HERE.get()?;
    Some(epoch.since_start + Instant::now().saturating_duration_since(epoch.instant))
}

/// One process's tokio runtime, in virtual time.
pub(crate) struct VirtualTime {
    /// `None` only during `drop`.
    runtime: Option<Runtime>,
    epoch: Epoch,
    /// The clock, in milliseconds since the test began.
    now_ms: AtomicU64,
    signals: Arc<RuntimeSignals>,
}

impl VirtualTime {
    /// Creates a runtime that starts when the test has been running for `since_start`.
    pub(crate) fn new(since_start: Duration) -> io::Result<Self> {
        let signals = Arc::new(RuntimeSignals::default());
        let parked = Arc::clone(&signals);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || RuntimeSignals::tell(&parked.idles))
            .build()?;
        let instant = {
            let _entered = runtime.enter();
            Instant::now()
        };
        let epoch = Epoch { instant, since_start };
        let now_ms = AtomicU64::new(millis(since_start));
        Ok(Self { runtime: Some(runtime), epoch, now_ms, signals })
    }

    /// Timers and tasks created while the guard lives belong to this runtime.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        let in_block_on = is_in_block_on();
        let context = self.runtime.as_ref()?.enter();
        let before = PreviousTime::set(CurrentTime { epoch: self.epoch, in_block_on });
        Some(Entered { _context: context, _before: before })
    }

    /// The waker for tasks. Waking it ends a [`pass`](Self::pass) that watches for it.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.signals))
    }

    fn is_woken(&self) -> bool {
        self.signals.woken.load(Ordering::Acquire)
    }

    /// Whether the waker was called since the last call of this function.
    pub(crate) fn take_woken(&self) -> bool {
        self.signals.woken.swap(false, Ordering::AcqRel)
    }

    /// Runs all spawned tasks until they wait. No time passes. Returns whether the
    /// [`waker`](Self::waker) was called.
    pub(crate) fn settle(&self) -> bool {
        let spawned = self.runtime.as_ref().map(|runtime| runtime.metrics().num_alive_tasks());
        if spawned.is_none_or(|spawned| spawned == 0) {
            return self.is_woken();
        }
        let mut begun = false;
        self.drive(poll_fn(|cx| {
            // Other events may wake this future too.
            if begun && lock(&self.signals.idles).is_none() {
                return Poll::Ready(());
            }
            begun = true;
            // The runtime is about to park, so nothing is left to run. Waking it at that moment
            // keeps its paused clock from advancing to the next timer.
            *lock(&self.signals.idles) = Some(cx.waker().clone());
            Poll::Pending
        }));
        self.is_woken()
    }

    /// Lets time pass up to `until`, each timer at its own moment; with `stops` only to the first
    /// moment at which the [`waker`](Self::waker) is called. Returns where the clock stands then.
    pub(crate) fn pass(&self, until: Duration, stops: bool) -> Duration {
        let now = Duration::from_millis(self.now_ms.load(Ordering::Relaxed));
        if until > now {
            let end = self.epoch.instant + until.saturating_sub(self.epoch.since_start);
            let mut reached = end;
            self.drive(async {
                let mut end = pin!(sleep_until(end));
                poll_fn(|cx| {
                    // Register before reading the flag, or a call in between would be missed.
                    *lock(&self.signals.woken_by) = stops.then(|| cx.waker().clone());
                    if stops && self.is_woken() {
                        return Poll::Ready(());
                    }
                    end.as_mut().poll(cx)
                })
                .await;
                reached = Instant::now();
            });
            *lock(&self.signals.woken_by) = None;
            let passed = reached.saturating_duration_since(self.epoch.instant);
            self.now_ms.store(millis(self.epoch.since_start + passed), Ordering::Relaxed);
        }
        self.settle();
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    fn drive(&self, future: impl Future<Output = ()> + Send) {
        let Some(runtime) = &self.runtime else { return };
        let epoch = self.epoch;
        let block_on = move || {
            let _before = PreviousTime::set(CurrentTime { epoch, in_block_on: true });
            runtime.block_on(future);
        };
        if is_in_block_on() {
            // The test is itself a future: tokio refuses to drive two runtimes on one thread.
            let driven = thread::scope(|scope| scope.spawn(block_on).join());
            driven.unwrap_or_else(|panic| resume_unwind(panic));
        } else {
            block_on();
        }
    }
}

impl Drop for VirtualTime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop waits for blocking tasks, which panics inside a future.
            runtime.shutdown_background();
        }
    }
}

/// An entered runtime may be merely available, or it may be polling the test: the test kit cannot
/// tell.
fn is_in_block_on() -> bool {
    HERE.get().map_or_else(|| Handle::try_current().is_ok(), |here| here.in_block_on)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// While it lives, time on this thread is virtual.
pub(crate) struct Entered<'a> {
    _context: EnterGuard<'a>,
    _before: PreviousTime,
}

/// The former time of this thread, restored on drop.
struct PreviousTime(Option<CurrentTime>);

impl PreviousTime {
    fn set(here: CurrentTime) -> Self {
        Self(HERE.replace(Some(here)))
    }
}

impl Drop for PreviousTime {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

/// Signals between the runtime and the future that drives it.
#[derive(Default)]
struct RuntimeSignals {
    /// A task's waker was called.
    woken: AtomicBool,
    woken_by: Mutex<Option<Waker>>,
    /// Woken when there is nothing left to run.
    idles: Mutex<Option<Waker>>,
}

impl RuntimeSignals {
    fn tell(waiting: &Mutex<Option<Waker>>) {
        let waiting = lock(waiting).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Wake for RuntimeSignals {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        Self::tell(&self.woken_by);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::time::{interval, sleep};

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn time() -> VirtualTime {
        VirtualTime::new(Duration::ZERO).expect("a runtime")
    }

    /// Polls a future once, as a task does.
    fn poll(time: &VirtualTime, future: impl Future<Output = ()>) -> bool {
        let _entered = time.enter();
        let waker = time.waker();
        pin!(future).poll(&mut std::task::Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn time_stands_still_between_two_passes() {
        let time = time();
        let now = || {
            let _entered = time.enter();
            since_start()
        };
        let mut timer = Box::pin(async { sleep(10 * MILLI).await });
        assert!(!poll(&time, timer.as_mut()));
        for _ in 0..3 {
            time.settle();
            thread::sleep(2 * MILLI);
            assert_eq!(now(), Some(Duration::ZERO));
        }
        assert_eq!(time.pass(9 * MILLI, true), 9 * MILLI);
        assert!(!time.take_woken() && !poll(&time, timer.as_mut()));
        assert_eq!(time.pass(MILLI * 50, true), 10 * MILLI, "to the timer, and no further");
        assert!(time.take_woken() && poll(&time, timer.as_mut()));
        assert_eq!(now(), Some(10 * MILLI));
        assert_eq!(since_start(), None, "outside, time is real");
    }

    #[test]
    fn every_timer_of_a_spawned_task_fires_at_its_own_moment() {
        let time = time();
        let ticks = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&ticks);
        assert!(poll(&time, async {
            tokio::spawn(async move {
                let mut every = interval(7 * MILLI);
                loop {
                    every.tick().await;
                    noted.lock().expect("no panic").push(since_start().map(millis));
                }
            });
        }));
        time.settle();
        assert_eq!(*lock(&ticks), [Some(0)]);
        time.settle();
        assert_eq!(time.pass(20 * MILLI, false), 20 * MILLI);
        assert_eq!(*lock(&ticks), [Some(0), Some(7), Some(14)]);
    }

    #[test]
    fn spawned_tasks_run_until_they_wait() {
        let time = time();
        let done = Arc::new(AtomicUsize::new(0));
        poll(&time, async {
            for turns in 0..200 {
                let done = Arc::clone(&done);
                tokio::spawn(async move {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    sleep(MILLI).await;
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        time.settle();
        assert_eq!(done.load(Ordering::Relaxed), 200);
        time.pass(MILLI, false);
        assert_eq!(done.load(Ordering::Relaxed), 400);
    }

    #[test]
    fn a_test_that_is_a_future_has_virtual_time_too() {
        let outer = Builder::new_current_thread().enable_time().build().expect("a runtime");
        outer.block_on(async {
            let time = time();
            let mut timer = Box::pin(async { sleep(10 * MILLI).await });
            assert!(!poll(&time, timer.as_mut()));
            assert_eq!(time.pass(MILLI * 50, true), 10 * MILLI);
            assert!(poll(&time, timer.as_mut()));
            drop(timer);
            drop(time);
            sleep(MILLI).await;
        });
    }

    #[test]
    fn a_process_that_starts_late_has_the_same_time() {
        let time = VirtualTime::new(500 * MILLI).expect("a runtime");
        assert_eq!(time.pass(400 * MILLI, false), 500 * MILLI);
        assert_eq!(time.pass(600 * MILLI, false), 600 * MILLI);
        let _entered = time.enter();
        assert_eq!(since_start(), Some(600 * MILLI));
    }
}
