//! The simulated world: a log, a clock, and instances with disks, which take turns on one thread.
//!
//! During one instance's call to the log, the others may go on for a while before it arrives. Then
//! that instance is frozen during a step, like a process that is stopped or paged out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use embedded::EmbeddedLog;
use runtime::manual::{ManualApp, ManualAppParts};
use runtime::transport::{ErrorKind, Transport};
use runtime::{Clock as _, Config, ManualClock};
use streams_core::{StoreProvider, TopicPartition, Topology};

use super::clock::InstanceClock;
use super::disk::{DiskStep, SimDisk};
use super::incident::{Incident, Incidents};
use super::odds::{self, Odds};
use crate::dice::Dice;
use crate::faults::{CommitLedger, Fault, Faults, TransportCall, Witness};
use crate::lock::lock;
use crate::virtual_time::VirtualTime;

pub(super) struct SimulatedWorld {
    pub(super) clock: ManualClock,
    pub(super) log: EmbeddedLog,
    pub(super) topology: Box<dyn Fn() -> Topology + Send + Sync>,
    pub(super) config: Config,
    pub(super) slots: Vec<InstanceSlot>,
    pub(super) odds: Odds,
    pub(super) dice: Mutex<Dice>,
    pub(super) history: Mutex<Vec<String>>,
    pub(super) incidents: Mutex<Incidents>,
    pub(super) ledger: Arc<CommitLedger>,
    /// The first bound that was exceeded.
    pub(super) beyond: Mutex<Option<String>>,
    /// The odds of faults; `None` after the last fault.
    pub(super) faulty: AtomicBool,
    /// The log is unavailable until then.
    pub(super) outage_until: AtomicI64,
    /// The coordinators are unavailable until then.
    pub(super) moving_until: AtomicI64,
    /// The input topics of the application.
    pub(super) inputs: Vec<Arc<str>>,
    /// The partition whose leader is unavailable, and until when.
    pub(super) away: Mutex<Option<(TopicPartition, i64)>>,
    /// How many instances are frozen during a step.
    pub(super) standing_still: AtomicUsize,
}

/// A place for an instance, with its disk.
#[derive(Default)]
pub(super) struct InstanceSlot {
    app: Mutex<Option<ManualApp>>,
    faults: Mutex<Faults>,
    pub(super) disk: SimDisk,
    /// The next write to the disk fails.
    disk_full: AtomicBool,
    is_dead: AtomicBool,
    lives: AtomicUsize,
    /// The virtual time of this run's agents.
    pub(super) time: Mutex<Option<Arc<VirtualTime>>>,
    /// The error of its date.
    date_off: Arc<AtomicI64>,
}

/// How many instances may be frozen inside each other's steps.
const STANDING_STILL_MAX: usize = 2;

impl SimulatedWorld {
    pub(super) fn note(&self, text: impl std::fmt::Display) {
        let line = format!("{:>8} ms  {text}", self.clock.now());
        tracing::debug!("{line}");
        lock(&self.history).push(line);
    }

    pub(super) fn below(&self, n: usize) -> usize {
        lock(&self.dice).below(n)
    }

    /// Whether something with odds of one in this many happens now.
    fn chance(&self, one_in: usize) -> bool {
        self.faulty.load(Ordering::Relaxed) && odds::strikes(one_in, &mut lock(&self.dice))
    }

    fn count(&self, incident: Incident) {
        lock(&self.incidents).add(incident, 1);
    }

    pub(super) fn is_running(&self, index: usize) -> bool {
        lock(&self.slots[index].app).is_some()
    }

    /// Starts an instance on the disk of its earlier run.
    pub(super) fn start(self: &Arc<Self>, index: usize) {
        let slot = &self.slots[index];
        match VirtualTime::new(self.since_start()) {
            Ok(time) => *lock(&slot.time) = Some(Arc::new(time)),
            Err(error) => return self.ended(index, &format!("no tokio runtime: {error}")),
        }
        let time = self.time_of(index);
        let _entered = time.as_ref().and_then(|time| time.enter());
        let faults = self.faults_of(index);
        *lock(&slot.faults) = faults.clone();
        slot.is_dead.store(false, Ordering::Relaxed);
        let world = Arc::downgrade(self);
        slot.disk.decided_by(move |step| match world.upgrade() {
            Some(world) => world.disk_step(index, step),
            None => Ok(()),
        });
        let clock = InstanceClock { time: self.clock.clone(), off: Arc::clone(&slot.date_off) };
        let transport: Arc<dyn Transport> = Arc::new(self.log.clone());
        let config =
            Config { instance_id: Some(format!("i{index}").into()), ..self.config.clone() };
        let started = ManualApp::start(ManualAppParts {
            topology: Arc::new((self.topology)()),
            config,
            transport: faults.on(transport),
            stores: Arc::new(slot.disk.clone()) as Arc<dyn StoreProvider>,
            clock: Arc::new(clock),
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

    /// The faults of a new run of an instance.
    fn faults_of(self: &Arc<Self>, index: usize) -> Faults {
        let faults = Faults::new();
        let life = self.slots[index].lives.fetch_add(1, Ordering::Relaxed);
        let name = format!("instance {index} in its run {life}");
        faults.witnessed_by(Witness::new(&name, Arc::clone(&self.ledger)));
        let deciding = Arc::downgrade(self);
        let waiting = Arc::downgrade(self);
        faults.decided_by(move |call| decide(&deciding, index, call));
        let asked = Arc::downgrade(self);
        faults.leaders_are_away_by(move |partition| {
            asked.upgrade().is_some_and(|world| world.is_away(partition))
        });
        faults.waits_by(move |call, fault| {
            if let Some(world) = waiting.upgrade() {
                world.takes_long(index, call, fault);
            }
        });
        faults
    }

    /// Asks an instance to stop gracefully.
    pub(super) fn stop(&self, index: usize) {
        if let Some(app) = &*lock(&self.slots[index].app) {
            self.note(format_args!("instance {index} is asked to stop"));
            app.stop();
        }
    }

    /// Gives one component of an instance its turn.
    pub(super) fn turn(&self, index: usize, component: usize) {
        let slot = &self.slots[index];
        // Not while it is frozen during another turn.
        if !self.is_running(index) {
            return;
        }
        // Keep it entered until the app is dropped: agents may need the runtime in their
        // destructors.
        let time = self.time_of(index);
        let _entered = time.as_ref().and_then(|time| time.enter());
        let Some(mut app) = lock(&slot.app).take() else { return };
        let component = component % app.components();
        let turned = catch_unwind(AssertUnwindSafe(|| app.turn(component)));
        if let (Ok(Ok(())), Some(beyond)) = (&turned, app.exceeded_bound()) {
            self.note(format_args!("instance {index}: {beyond}"));
            lock(&self.beyond).get_or_insert(format!("instance {index}: {beyond}"));
        }
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
                self.died(index, "during a step");
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&t| t.to_owned()));
                self.ended(index, &format!("PANIC: {}", text.unwrap_or_default()));
            }
        }
    }

    /// The process dies instantly.
    fn died(&self, index: usize, how: &str) {
        self.note(format_args!("instance {index} died {how}"));
        self.crash_disk(index);
    }

    /// The application ended with an error, so its process ends.
    fn ended(&self, index: usize, error: &str) {
        self.note(format_args!("instance {index} ended: {error}"));
        self.crash_disk(index);
    }

    fn crash_disk(&self, index: usize) {
        let disk = &self.slots[index].disk;
        let damage = disk.crash(&mut lock(&self.dice));
        if damage.lost {
            self.count(Incident::WritesLost);
        }
        if damage.torn {
            self.count(Incident::WritesTorn);
        }
        if self.chance(self.odds.lost_disk) {
            self.note(format_args!("the disk of instance {index} is lost"));
            self.count(Incident::DiskLost);
            disk.lose();
        } else if self.chance(self.odds.damage) {
            let damaged = disk.damage(&mut lock(&self.dice));
            if let Some(store) = damaged {
                self.note(format_args!("the store {store} of instance {index} is damaged"));
                self.count(Incident::StoreDamaged);
            }
        }
    }

    /// Lets delayed requests arrive.
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

    /// Ends all faults.
    pub(super) fn heal(&self) {
        self.note("the last fault is over");
        self.faulty.store(false, Ordering::Relaxed);
        for slot in &self.slots {
            slot.disk_full.store(false, Ordering::Relaxed);
            slot.date_off.store(0, Ordering::Relaxed);
        }
        self.release();
    }

    /// Decides the fault of an instance's call.
    fn decide(self: &Arc<Self>, index: usize, call: TransportCall) -> Option<Fault> {
        if !self.faulty.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(incident) = self.unanswered(call) {
            let fault = odds::possible(call).first().copied();
            fault.iter().for_each(|_| self.count(incident));
            return fault;
        }
        if self.chance(self.odds.crash) {
            self.note(format_args!("instance {index} is killed at {call:?}"));
            self.count(Incident::Killed);
            return self.kill(index);
        }
        if self.chance(self.odds.pause) {
            self.stand_still(index, format_args!("{call:?}"));
        }
        let fault = self.odds.call(call, &mut lock(&self.dice));
        if let Some(fault) = fault {
            self.note(format_args!("instance {index}: {call:?} has the fault {fault:?}"));
            Incident::of(call, fault).iter().for_each(|incident| self.count(*incident));
        }
        fault
    }

    /// The incident because of which no broker responds, if any.
    fn unanswered(&self, call: TransportCall) -> Option<Incident> {
        let now = self.clock.now();
        if now < self.outage_until.load(Ordering::Relaxed) {
            return Some(Incident::LogAway);
        }
        let is_moving = now < self.moving_until.load(Ordering::Relaxed);
        (is_moving && odds::is_coordinators(call)).then_some(Incident::CoordinatorMoving)
    }

    /// Decides the fault of a step of an instance's disk.
    fn disk_step(self: &Arc<Self>, index: usize, step: DiskStep) -> Result<(), String> {
        let slot = &self.slots[index];
        if slot.is_dead.load(Ordering::Relaxed) {
            return Err("the process is dead".to_owned());
        }
        if !self.faulty.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.chance(self.odds.crash) {
            self.note(format_args!("instance {index} is killed at {step:?} of its disk"));
            self.count(Incident::KilledAtDisk);
            self.kill(index);
            return Err("the process is dead".to_owned());
        }
        if self.chance(self.odds.pause) {
            self.stand_still(index, format_args!("{step:?} of its disk"));
        }
        if self.chance(self.odds.slow_disk) {
            let time = self.below(700) as i64;
            let at = format_args!("{step:?} of the disk of instance {index} takes {time} ms");
            if self.others_go_on(index, time, at) {
                self.count(Incident::DiskSlow);
            }
        }
        if step != DiskStep::Open && slot.disk_full.swap(false, Ordering::Relaxed) {
            self.count(Incident::DiskFull);
            return Err("no space left on the disk, as the seed chose".to_owned());
        }
        Ok(())
    }

    fn kill(&self, index: usize) -> Option<Fault> {
        let slot = &self.slots[index];
        slot.is_dead.store(true, Ordering::Relaxed);
        lock(&slot.faults).kill();
        Some(Fault::Fails(ErrorKind::Fatal))
    }

    /// Freezes the instance while the others go on, for a moment or for longer than a session
    /// lasts.
    fn stand_still(self: &Arc<Self>, index: usize, at: std::fmt::Arguments<'_>) {
        let session = self.config.session_timeout.as_millis() as usize;
        let longest = [50, 500, session * 2][self.below(3)];
        let time = self.below(longest);
        let at = format_args!("instance {index} is frozen at {at}");
        if self.others_go_on(index, time as i64, at) {
            let is_zombie = time > session;
            self.count(if is_zombie { Incident::Zombie } else { Incident::StoodStill });
        }
    }

    /// Delays a request or a reply.
    fn takes_long(self: &Arc<Self>, index: usize, call: TransportCall, fault: Fault) {
        let (incident, time) = match fault {
            Fault::Slow(time) => (Incident::RequestSlow, time),
            Fault::SlowReply(time) => (Incident::AnswerSlow, time),
            _ => return,
        };
        let at = format_args!("instance {index}: {call:?} is delayed");
        if self.others_go_on(index, time.as_millis() as i64, at) {
            self.count(incident);
        }
    }

    /// Gives all instances except `index` turns for a while; `false` if too many are frozen
    /// already.
    fn others_go_on(
        self: &Arc<Self>,
        index: usize,
        millis: i64,
        why: std::fmt::Arguments<'_>,
    ) -> bool {
        if self.standing_still.load(Ordering::Relaxed) >= STANDING_STILL_MAX {
            return false;
        }
        self.standing_still.fetch_add(1, Ordering::Relaxed);
        self.note(why);
        let until = self.clock.now() + millis;
        while self.clock.now() < until {
            self.tick();
        }
        self.note(format_args!("that is over: {why}"));
        // An agent that was interrupted by that sees how late it is.
        self.time_of(index);
        self.standing_still.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Gives a random component its turn, and lets a little time pass.
    pub(super) fn tick(self: &Arc<Self>) {
        let index = self.below(self.slots.len());
        self.goes_wrong(index);
        if self.below(400) == 0 {
            self.release();
        }
        if self.is_running(index) {
            let component = self.below(8);
            self.turn(index, component);
        } else if self.standing_still.load(Ordering::Relaxed) == 0 && self.below(60) == 0 {
            // Only outside all steps: a frozen instance is not gone.
            self.start(index);
        }
        if self.below(3) == 0 {
            let step = [1, 1, 2, 10, 30][self.below(5)];
            self.clock.advance(Duration::from_millis(step));
        }
    }

    /// What may go wrong between two turns.
    fn goes_wrong(&self, index: usize) {
        let odds = self.odds;
        let slot = &self.slots[index];
        let now = self.clock.now();
        let session = self.config.session_timeout.as_millis() as usize;
        if self.chance(odds.membership) {
            if self.is_running(index) {
                self.stop(index);
                self.count(Incident::Stopped);
            }
        } else if self.chance(odds.disk) {
            self.note(format_args!("the disk of instance {index} is full"));
            slot.disk_full.store(true, Ordering::Relaxed);
        } else if self.chance(odds.outage) {
            let lasts = self.below(3_000) as i64;
            self.note(format_args!("the log is unavailable for {lasts} ms"));
            self.outage_until.store(now + lasts, Ordering::Relaxed);
        } else if self.chance(odds.restart) {
            let lasts = self.below(1_500) as i64;
            self.note(format_args!("the log restarts, and is back after {lasts} ms"));
            self.count(Incident::LogRestarted);
            self.log.forget_members();
            self.outage_until.store(now + lasts, Ordering::Relaxed);
        } else if self.chance(odds.coordinator) {
            let lasts = self.below(1_000) as i64;
            self.note(format_args!("the coordinators move, for {lasts} ms"));
            self.moving_until.store(now + lasts, Ordering::Relaxed);
            if self.below(2) == 0 {
                self.log.forget_members();
            }
        } else if self.chance(odds.jump) {
            let by = self.below(session * 3);
            self.note(format_args!("{by} ms pass at once"));
            self.count(Incident::TimeJumped);
            self.clock.advance(Duration::from_millis(by as u64));
        } else if self.chance(odds.date) {
            self.set_date(index);
        } else if self.chance(odds.leader) {
            self.lose_leader();
        }
    }

    /// Makes one partition of an input unreadable for a while.
    fn lose_leader(&self) {
        let Some(topic) = self.inputs.get(self.below(self.inputs.len().max(1))) else { return };
        let partition = TopicPartition::new(Arc::clone(topic), self.below(4) as i32);
        let lasts = self.below(2_000) as i64;
        self.note(format_args!("the leader of {partition} is unavailable for {lasts} ms"));
        self.count(Incident::LeaderAway);
        *lock(&self.away) = Some((partition, self.clock.now() + lasts));
    }

    /// Whether no broker responds that knows the partition's end.
    fn is_away(&self, partition: &TopicPartition) -> bool {
        let now = self.clock.now();
        let is_out = now < self.outage_until.load(Ordering::Relaxed);
        let away = lock(&self.away);
        let is_away = away.as_ref().is_some_and(|(one, until)| one == partition && now < *until);
        self.faulty.load(Ordering::Relaxed) && (is_out || is_away)
    }

    /// Sets a clock wrong by seconds, or by more than the time for which a copy of a table may be
    /// unused.
    fn set_date(&self, index: usize) {
        let off = match self.below(6) {
            0 => 13 * 60 * 60 * 1_000,
            1 | 2 => -(self.below(2_000) as i64),
            3 | 4 => self.below(2_000) as i64,
            _ => 0,
        };
        self.note(format_args!("the date of instance {index} is off by {off} ms"));
        self.count(Incident::DateSet);
        self.slots[index].date_off.store(off, Ordering::Relaxed);
    }
}

fn decide(world: &Weak<SimulatedWorld>, index: usize, call: TransportCall) -> Option<Fault> {
    world.upgrade().and_then(|world| world.decide(index, call))
}
