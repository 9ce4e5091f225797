//! The simulated world: a log, a clock, instances with disks; one thread that gives each its turn.
//!
//! A call of one instance to the log may find that the others go on for a while before it arrives:
//! then that instance stands still in the middle of a step, as a process does that is stopped or
//! paged out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use embedded::EmbeddedLog;
use runtime::stepped::{SteppedApp, SteppedParts};
use runtime::transport::{ErrorKind, Transport};
use runtime::{Clock as _, Config, ManualClock};
use streams_core::{StoreProvider, Topology};

use super::disk::SimDisk;
use super::odds::Odds;
use crate::dice::Dice;
use crate::faults::{Call, Fault, Faults};
use crate::lock::lock;

pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) log: EmbeddedLog,
    pub(super) topology: Box<dyn Fn() -> Topology + Send + Sync>,
    pub(super) config: Config,
    pub(super) slots: Vec<Slot>,
    pub(super) odds: Odds,
    pub(super) dice: Mutex<Dice>,
    pub(super) history: Mutex<Vec<String>>,
    /// Set while things go wrong.
    pub(super) faulty: AtomicBool,
    /// Until then the log is away.
    pub(super) outage_until: AtomicI64,
    /// How many instances stand still in the middle of a step.
    pub(super) standing_still: AtomicUsize,
}

/// A place for an instance, with its disk.
#[derive(Default)]
pub(super) struct Slot {
    app: Mutex<Option<SteppedApp>>,
    faults: Mutex<Faults>,
    pub(super) disk: SimDisk,
    is_dead: AtomicBool,
}

/// Instances that may stand still inside each other's steps.
const STANDING_STILL_MAX: usize = 2;

impl World {
    pub(super) fn note(&self, text: impl std::fmt::Display) {
        let line = format!("{:>8} ms  {text}", self.clock.now());
        tracing::debug!("{line}");
        lock(&self.history).push(line);
    }

    pub(super) fn below(&self, n: usize) -> usize {
        lock(&self.dice).below(n)
    }

    pub(super) fn chance(&self, odds: impl Fn(Odds, &mut Dice) -> bool) -> bool {
        self.faulty.load(Ordering::Relaxed) && odds(self.odds, &mut lock(&self.dice))
    }

    pub(super) fn is_running(&self, index: usize) -> bool {
        lock(&self.slots[index].app).is_some()
    }

    /// Starts an instance on the disk that an earlier one left.
    pub(super) fn start(self: &Arc<Self>, index: usize) {
        let slot = &self.slots[index];
        let (faults, world) = (Faults::new(), Arc::downgrade(self));
        faults.decided_by(move |call| decide(&world, index, call));
        *lock(&slot.faults) = faults.clone();
        slot.is_dead.store(false, Ordering::Relaxed);
        let transport: Arc<dyn Transport> = Arc::new(self.log.clone());
        let config =
            Config { instance_id: Some(format!("i{index}").into()), ..self.config.clone() };
        let started = SteppedApp::start(SteppedParts {
            topology: Arc::new((self.topology)()),
            config,
            transport: faults.on(transport),
            stores: Arc::new(slot.disk.clone()) as Arc<dyn StoreProvider>,
            clock: Arc::new(self.clock.clone()),
        });
        match started {
            Ok(app) if !slot.is_dead.load(Ordering::Relaxed) => {
                self.note(format_args!("instance {index} has started"));
                *lock(&slot.app) = Some(app);
            }
            Ok(app) => {
                drop(app);
                self.died(index, "while it started");
            }
            Err(error) => self.died(index, &format!("while it started: {error}")),
        }
    }

    /// Asks an instance to stop gracefully.
    pub(super) fn stop(&self, index: usize) {
        if let Some(app) = &*lock(&self.slots[index].app) {
            self.note(format_args!("instance {index} is to stop"));
            app.stop();
        }
    }

    /// Gives one component of an instance its turn.
    pub(super) fn turn(&self, index: usize, component: usize) {
        let slot = &self.slots[index];
        // Not while it is in the middle of another turn, in which it stands still.
        let Some(mut app) = lock(&slot.app).take() else { return };
        let component = component % app.components();
        let turned = catch_unwind(AssertUnwindSafe(|| app.turn(component)));
        let dead = slot.is_dead.load(Ordering::Relaxed);
        match turned {
            Ok(Ok(())) if !dead && app.has_left() => {
                self.note(format_args!("instance {index} has stopped"));
            }
            Ok(Ok(())) if !dead => *lock(&slot.app) = Some(app),
            Ok(Err(error)) if !dead => {
                drop(app);
                self.ended(index, &error.to_string());
            }
            Ok(_) => {
                drop(app);
                self.died(index, "in the middle of a step");
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&t| t.to_owned()));
                self.ended(index, &format!("PANIC: {}", text.unwrap_or_default()));
            }
        }
    }

    /// The process is gone from one moment to the next.
    fn died(&self, index: usize, how: &str) {
        self.note(format_args!("instance {index} died {how}"));
        self.slots[index].disk.crash(&mut lock(&self.dice));
    }

    /// The application ended with an error: its process ends too.
    fn ended(&self, index: usize, error: &str) {
        self.note(format_args!("instance {index} ended: {error}"));
        self.slots[index].disk.crash(&mut lock(&self.dice));
    }

    /// Lets requests arrive that were under way for long.
    pub(super) fn release(&self) {
        for (index, slot) in self.slots.iter().enumerate() {
            let faults = lock(&slot.faults).clone();
            let released = faults.release();
            if released > 0 {
                self.note(format_args!("{released} late requests of instance {index} arrive"));
            }
        }
    }

    pub(super) fn status(&self, index: usize) -> Option<runtime::Status> {
        lock(&self.slots[index].app).as_ref().map(|app| app.status().snapshot())
    }

    /// What happens to a call of an instance.
    fn decide(self: &Arc<Self>, index: usize, call: Call) -> Option<Fault> {
        if !self.faulty.load(Ordering::Relaxed) {
            return None;
        }
        if self.clock.now() < self.outage_until.load(Ordering::Relaxed) {
            return super::odds::possible(call).first().copied();
        }
        if self.chance(Odds::crash) {
            self.note(format_args!("instance {index} is killed at {call:?}"));
            return self.kill(index);
        }
        if self.chance(Odds::pause) {
            self.stand_still(index, call);
        }
        let fault = self.odds.call(call, &mut lock(&self.dice));
        if let Some(fault) = fault {
            self.note(format_args!("instance {index}: {call:?} meets {fault:?}"));
        }
        fault
    }

    fn kill(&self, index: usize) -> Option<Fault> {
        let slot = &self.slots[index];
        slot.is_dead.store(true, Ordering::Relaxed);
        lock(&slot.faults).kill();
        Some(Fault::Fails(ErrorKind::Fatal))
    }

    /// The others go on, for a moment or for longer than a session lasts.
    fn stand_still(self: &Arc<Self>, index: usize, call: Call) {
        if self.standing_still.load(Ordering::Relaxed) >= STANDING_STILL_MAX {
            return;
        }
        self.standing_still.fetch_add(1, Ordering::Relaxed);
        let session = self.config.session_timeout.as_millis() as usize;
        let longest = [50, 500, session * 2][self.below(3)];
        let until = self.clock.now() + self.below(longest) as i64;
        self.note(format_args!("instance {index} stands still at {call:?}"));
        while self.clock.now() < until {
            self.tick();
        }
        self.note(format_args!("instance {index} goes on"));
        self.standing_still.fetch_sub(1, Ordering::Relaxed);
    }

    /// Somebody has a turn, and a little time passes.
    pub(super) fn tick(self: &Arc<Self>) {
        let index = self.below(self.slots.len());
        if self.chance(Odds::membership) {
            if self.is_running(index) {
                self.stop(index);
            }
        } else if self.chance(Odds::disk) {
            self.note(format_args!("the disk of instance {index} is full"));
            self.slots[index].disk.fail_next();
        } else if self.chance(Odds::outage) {
            let lasts = self.below(3_000) as i64;
            self.note(format_args!("the log is away for {lasts} ms"));
            self.outage_until.store(self.clock.now() + lasts, Ordering::Relaxed);
        }
        if self.below(400) == 0 {
            self.release();
        }
        if self.is_running(index) {
            let component = self.below(8);
            self.turn(index, component);
        } else if self.standing_still.load(Ordering::Relaxed) == 0 && self.below(60) == 0 {
            // Only from outside of everybody's step: an instance that stands still is not gone.
            self.start(index);
        }
        if self.below(3) == 0 {
            let step = [1, 1, 2, 10, 30][self.below(5)];
            self.clock.advance(Duration::from_millis(step));
        }
    }
}

fn decide(world: &Weak<World>, index: usize, call: Call) -> Option<Fault> {
    world.upgrade().and_then(|world| world.decide(index, call))
}
