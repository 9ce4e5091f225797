//! Whole applications in a simulated world: several instances with production workers on the
//! embedded log, in virtual time, on one thread. The same seed gives the same run, to the byte.
//!
//! The seed decides what goes wrong and how often. Processes die during any step, freeze for longer
//! than their session lasts, stop and start. Calls to the log fail, get lost, lose their replies,
//! or arrive long after they were given up. The log is unavailable. A disk is full, or loses a
//! random part of each table's unflushed batches. Time jumps. [`Incident`] has the whole list.

mod check;
mod clock;
mod disk;
mod incident;
mod odds;
mod outcome;
mod run;
mod seeds;
mod world;

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded::LogOptions;
use runtime::{Config, ManualClock};
use streams_core::{Headers, OwnedRecord, Record, Topic, Topology};

use crate::dice::Dice;
use crate::faults::CommitLedger;
pub use incident::{Incident, Incidents};
use odds::Odds;
pub use outcome::{Outcome, OutcomeError};
use run::SimulationRun;
pub use seeds::{Summary, simulate};
use world::{InstanceSlot, SimulatedWorld};

/// A simulated application. [`simulate`] runs many.
///
/// `tokio::time` in agents follows the world's time, and tasks that they spawn die with their
/// instance. The same seed gives the same run as long as agents do not use other threads
/// (`spawn_blocking`) or the random choice of `tokio::select!`: write `biased;` where two branches
/// may be ready at once. Calls must go to a stub such as [`Calls`](crate::Calls), because sockets
/// are refused.
///
/// ```
/// use headwater_testkit::{Simulation, simulate};
/// use headwater::{Builder, Record, Table, Topic};
///
/// let words = Topic::<String, u64>::new("words");
/// let counts = Topic::<String, u64>::new("counts");
/// let topology = || {
///     let app = Builder::new("counting");
///     let words = app.stream(&Topic::<String, u64>::new("words"));
///     words.group_by_key().count(&Table::new("seen")).to(&Topic::new("counts"));
///     app.build().expect("valid")
/// };
/// let summary = simulate(0..10, |seed| {
///     let counts = counts.clone();
///     Simulation::new(seed, topology)
///         .topic("words", 3)
///         .topic("counts", 3)
///         .feed(&words, 100, |dice, n| Record::new(format!("w{}", dice.below(7)), n, n as i64))
///         .check(move |outcome| {
///             let last: std::collections::BTreeMap<_, _> = outcome.committed(&counts)?.into_iter()
///                 .map(|record| (record.key, record.value))
///                 .collect();
///             assert_eq!(last.values().sum::<u64>(), 100);
///             Ok(())
///         })
/// })?;
/// println!("{summary}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulation {
    seed: u64,
    topology: Box<dyn Fn() -> Topology + Send + Sync>,
    instances: usize,
    turns: usize,
    config: Config,
    topics: Vec<(String, i32)>,
    feeds: Vec<InputFeed>,
    is_fed_first: bool,
    settles_within: Duration,
    checks: Vec<Check>,
}

/// A check of an outcome.
type Check = Box<dyn Fn(&Outcome) -> Result<(), Box<dyn Error>>>;

/// Records for a topic, in order.
struct InputFeed {
    topic: Arc<str>,
    make: Box<dyn FnMut(&mut Dice, u64) -> OwnedRecord>,
    count: u64,
}

/// A violation that a run found. Its `Display` says how to reproduce it, and everything that
/// happened.
#[derive(Debug)]
#[non_exhaustive]
pub struct SimError {
    /// The seed.
    pub seed: u64,
    /// The violation.
    pub what: String,
    /// How to reproduce the run.
    pub replay: String,
    /// Everything that happened, one line each.
    pub history: String,
}

impl SimError {
    fn new(seed: u64, what: String, history: String) -> Self {
        let replay = format!("Simulation::new({seed}, …) is the same run");
        Self { seed, what, replay, history }
    }
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, replay, history } = self;
        write!(f, "seed {seed}: {what}\nagain: {replay}\nwhat happened:\n{history}")
    }
}

impl Error for SimError {}

/// When the simulated world begins, in Unix milliseconds: in 2001.
const START: i64 = 1_000_000_000_000;

impl Simulation {
    /// Simulates three instances of the application. `topology` is called for each of them.
    pub fn new(seed: u64, topology: impl Fn() -> Topology + Send + Sync + 'static) -> Self {
        let config = Config {
            commit_interval: Some(Duration::from_millis(20)),
            session_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(100),
            transaction_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_millis(500),
            poll_records_max: 5,
            ..Config::default()
        };
        Self {
            seed,
            topology: Box::new(topology),
            instances: 3,
            turns: 4_000,
            config,
            topics: Vec::new(),
            feeds: Vec::new(),
            is_fed_first: false,
            settles_within: Duration::from_secs(120),
            checks: Vec::new(),
        }
    }

    /// Sets the number of instances; default 3.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances.max(1);
        self
    }

    /// Ends the faults after this many turns; default 4,000.
    pub fn turns(mut self, turns: usize) -> Self {
        self.turns = turns;
        self
    }

    /// Changes the configuration of the instances.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Creates a topic.
    pub fn topic(mut self, name: &str, partitions: i32) -> Self {
        self.topics.push((name.to_owned(), partitions));
        self
    }

    /// Writes `count` records to `topic` during the run; `make` gets the record's number.
    pub fn feed<K: 'static, V: 'static>(
        mut self,
        topic: &Topic<K, V>,
        count: u64,
        mut make: impl FnMut(&mut Dice, u64) -> Record<K, V> + 'static,
    ) -> Self {
        let name = Arc::clone(topic.name());
        let topic = topic.clone();
        let make = move |dice: &mut Dice, number| {
            let record = make(dice, number);
            let bytes = |written: Result<bool, _>, bytes: Vec<u8>| {
                written.is_ok_and(|is_there| is_there).then(|| bytes.into())
            };
            let mut key = Vec::new();
            let mut value = Vec::new();
            let has_key = topic.key_codec().encode(&record.key, &mut key);
            let has_value = topic.value_codec().encode(&record.value, &mut value);
            OwnedRecord {
                offset: 0,
                timestamp: record.timestamp,
                key: bytes(has_key, key),
                value: bytes(has_value, value),
                headers: Headers::new(),
            }
        };
        self.feeds.push(InputFeed { topic: name, make: Box::new(make), count });
        self
    }

    /// Writes all input before the first instance starts. Then every run also checks that each
    /// commit of a task with several inputs is a prefix of their merge by timestamp, unless the
    /// application itself writes one of them.
    pub fn fed_before_the_start(mut self) -> Self {
        self.is_fed_first = true;
        self
    }

    /// How long nothing may change after the last fault before every input must be processed and
    /// acknowledged; default two minutes. It must exceed the time agents take for a record or a
    /// batch.
    pub fn settles_within(mut self, time: Duration) -> Self {
        self.settles_within = time;
        self
    }

    /// Adds a check of the outcome to those of every run. A failed assertion counts as a returned
    /// error.
    pub fn check(
        mut self,
        check: impl Fn(&Outcome) -> Result<(), Box<dyn Error>> + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Runs it: first with the seed's faults, then without any, until every input is processed and
    /// no record waits for a retry.
    ///
    /// # Errors
    /// The application does not finish; an instance ends with an error after the last fault; two
    /// instances owned a partition at once; effects were committed without their offsets; inputs
    /// were not [merged by timestamp](Self::fed_before_the_start); a queue or an overlay exceeded
    /// its bound; a transaction is left open; a table differs from its changelog; or a
    /// [`check`](Self::check) fails.
    pub fn run(self) -> Result<Outcome, SimError> {
        let Self { seed, topology, instances, turns, config, topics, .. } = self;
        let Self { feeds, is_fed_first, settles_within, checks, .. } = self;
        let mut dice = Dice::new(seed);
        let odds = Odds::of(&mut dice);
        let world = Arc::new(world(topology, config, instances, odds, dice.roll()));
        let names = topics.iter().map(|(name, _)| name.clone()).collect();
        let run =
            SimulationRun { world: &world, seed, topics: names, is_fed_first, settles_within };
        let done = run.create(&topics).and_then(|()| run.run(feeds, turns, dice));
        done.map_err(|what| run.error(what))?;
        let outcome = Outcome::new(Arc::clone(&world));
        checks.iter().try_for_each(|check| judge(check, &outcome)).map_err(|w| run.error(w))?;
        Ok(outcome)
    }
}

/// A check's error, or the message of its panic.
fn judge(check: &Check, outcome: &Outcome) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| check(outcome))) {
        Ok(checked) => checked.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(text.unwrap_or_else(|| "a check panicked".to_owned()))
        }
    }
}

fn world(
    topology: Box<dyn Fn() -> Topology + Send + Sync>,
    config: Config,
    instances: usize,
    odds: Odds,
    seed: u64,
) -> SimulatedWorld {
    let clock = ManualClock::new(START);
    let log = LogOptions::default().clock(Arc::new(clock.clone())).in_memory();
    let described = topology();
    let mut ledger = CommitLedger::default();
    for sub in described.sub_topologies() {
        let inputs: Vec<_> = sub.sources().iter().map(|source| Arc::clone(&source.topic)).collect();
        let changelogs = sub.tables().iter().map(|table| Arc::clone(table.changelog()));
        ledger.inputs.extend(changelogs.map(|changelog| (changelog, inputs.clone())));
    }
    let sources = described.sub_topologies().iter().flat_map(|sub| sub.sources());
    let inputs = sources.map(|source| Arc::clone(&source.topic)).collect();
    SimulatedWorld {
        clock,
        log,
        topology,
        config,
        slots: (0..instances).map(|_| InstanceSlot::default()).collect(),
        odds,
        dice: Mutex::new(Dice::new(seed)),
        history: Mutex::default(),
        incidents: Mutex::default(),
        ledger: Arc::new(ledger),
        beyond: Mutex::default(),
        faulty: AtomicBool::new(true),
        outage_until: AtomicI64::new(0),
        moving_until: AtomicI64::new(0),
        inputs,
        away: Mutex::default(),
        standing_still: AtomicUsize::new(0),
    }
}
