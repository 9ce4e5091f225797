//! Whole applications in a simulated world: several instances of the production's workers over the
//! embedded log, in virtual time, on one thread. The same seed is the same run, to the byte.
//!
//! What goes wrong, as often as the seed wants: processes die in the middle of any step, stand
//! still for longer than their session lasts, stop and start; calls to the log fail, get lost, lose
//! their answers, or arrive long after they were given up; the log is away; a disk is full, and
//! loses what was not flushed, of each table as much as chance wants; the clock jumps.

mod check;
mod clock;
mod disk;
mod odds;
mod outcome;
mod world;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded::LogOptions;
use runtime::transport::{NewTopic, Outgoing, Producer, ProducerConfig, Transport};
use runtime::{Clock as _, Config, ManualClock, Status};
use streams_core::{Headers, OwnedRecord, Record, Topic, Topology};

use crate::dice::Dice;
use crate::lock::lock;
use clock::LogClock;
use odds::Odds;
pub use outcome::{Outcome, OutcomeError};
use world::{Slot, World};

/// An application to be simulated.
///
/// ```
/// use headwater_testkit::Simulation;
/// use streams_core::{Builder, Record, Table, Topic};
///
/// let (words, counts) = (Topic::<String, u64>::new("words"), Topic::<String, u64>::new("counts"));
/// for seed in 0..10 {
///     let topology = || {
///         let app = Builder::new("counting");
///         let words = app.stream(&Topic::<String, u64>::new("words"));
///         words.group_by_key().count(&Table::new("seen")).to(&Topic::new("counts"));
///         app.build().expect("valid")
///     };
///     let outcome = Simulation::new(seed, topology)
///         .topic("words", 3)
///         .topic("counts", 3)
///         .feed(&words, 100, |dice, n| Record::new(format!("w{}", dice.below(7)), n, n as i64))
///         .run()?;
///     let last: std::collections::BTreeMap<_, _> = outcome.committed(&counts)?.into_iter()
///         .map(|record| (record.key, record.value))
///         .collect();
///     assert_eq!(last.values().sum::<u64>(), 100, "{}", outcome.history());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulation {
    seed: u64,
    topology: Box<dyn Fn() -> Topology + Send + Sync>,
    instances: usize,
    turns: usize,
    config: Config,
    topics: Vec<(String, i32)>,
    feeds: Vec<Feed>,
}

/// Records for a topic, in order.
struct Feed {
    topic: Arc<str>,
    make: Box<dyn FnMut(&mut Dice, u64) -> OwnedRecord>,
    count: u64,
}

/// What a run found to be wrong.
#[derive(Debug)]
pub struct SimError {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// All that happened.
    pub history: String,
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}\n{}", self.seed, self.what, self.history)
    }
}

impl std::error::Error for SimError {}

/// When the simulated world begins: in 2001.
const START: i64 = 1_000_000_000_000;
/// How long the application may take, after the last fault, until everything is done.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
/// How long nothing may change for everything to count as done.
const QUIET: Duration = Duration::from_secs(15);

impl Simulation {
    /// Three instances of the application, which `topology` describes anew for each.
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
        }
    }

    /// So many instances.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances.max(1);
        self
    }

    /// The faults end after so many turns; default 4,000.
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

    /// Writes `count` records to `topic` while everything goes on; `make` is given the record's
    /// number.
    pub fn feed<K: 'static, V: 'static>(
        mut self,
        topic: &Topic<K, V>,
        count: u64,
        mut make: impl FnMut(&mut Dice, u64) -> Record<K, V> + 'static,
    ) -> Self {
        let (name, topic) = (Arc::clone(topic.name()), topic.clone());
        let make = move |dice: &mut Dice, number| {
            let record = make(dice, number);
            let bytes = |written: Result<bool, _>, bytes: Vec<u8>| {
                written.is_ok_and(|is_there| is_there).then(|| bytes.into())
            };
            let (mut key, mut value) = (Vec::new(), Vec::new());
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
        self.feeds.push(Feed { topic: name, make: Box::new(make), count });
        self
    }

    /// Runs it: first everything goes wrong that the seed wants, then nothing any more, until
    /// every input is processed.
    ///
    /// # Errors
    /// The application does not come to an end, an instance ends with an error although nothing
    /// goes wrong any more, a transaction is left open, or a table is not what its changelog says.
    pub fn run(self) -> Result<Outcome, SimError> {
        let mut dice = Dice::new(self.seed);
        let odds = Odds::of(&mut dice);
        let clock = ManualClock::new(START);
        let log = LogOptions::default().clock(Arc::new(LogClock(clock.clone()))).in_memory();
        let world = Arc::new(World {
            clock,
            log,
            topology: self.topology,
            config: self.config,
            slots: (0..self.instances).map(|_| Slot::default()).collect(),
            odds,
            dice: Mutex::new(Dice::new(dice.roll())),
            history: Mutex::default(),
            faulty: AtomicBool::new(true),
            outage_until: AtomicI64::new(0),
            standing_still: AtomicUsize::new(0),
        });
        let topics: Vec<_> = self.topics.iter().map(|(name, _)| name.clone()).collect();
        let run = Run { world: &world, seed: self.seed, topics };
        let done = run.create(&self.topics).and_then(|()| run.run(self.feeds, self.turns, dice));
        match done {
            Ok(()) => Ok(Outcome::new(world)),
            Err(what) => Err(run.error(what)),
        }
    }
}

struct Run<'a> {
    world: &'a Arc<World>,
    seed: u64,
    topics: Vec<String>,
}

impl Run<'_> {
    fn error(&self, what: String) -> SimError {
        let history = lock(&self.world.history).join("\n");
        SimError { seed: self.seed, what, history }
    }

    fn create(&self, topics: &[(String, i32)]) -> Result<(), String> {
        let mut admin = self.world.log.admin().map_err(|error| error.to_string())?;
        for (name, partitions) in topics {
            // Records may bear any time.
            let config = vec![("retention.ms".to_owned(), "-1".to_owned())];
            let name = name.as_str().into();
            let topic = NewTopic { name, partitions: *partitions, replication: None, config };
            admin.create(&topic, Duration::ZERO).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn run(&self, mut feeds: Vec<Feed>, turns: usize, mut dice: Dice) -> Result<(), String> {
        let config = ProducerConfig {
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            buffer_bytes_max: 1 << 20,
        };
        let mut writer = self.world.log.producer(&config).map_err(|error| error.to_string())?;
        let total: u64 = feeds.iter().map(|feed| feed.count).sum();
        let mut fed = vec![0; feeds.len()];
        for turn in 0..turns {
            // Evenly over three quarters of the time.
            let due = (total * turn as u64 * 4).div_ceil(turns as u64 * 3).min(total);
            while fed.iter().sum::<u64>() < due {
                write(&mut feeds, &mut fed, &mut dice, &mut *writer)?;
            }
            self.world.tick();
        }
        while fed.iter().sum::<u64>() < total {
            write(&mut feeds, &mut fed, &mut dice, &mut *writer)?;
        }
        self.heal();
        self.settle()?;
        self.stop()?;
        check::nothing_is_open(self.world, &self.all_topics())?;
        check::tables_are_their_changelogs(self.world, &(self.world.topology)())
    }

    fn all_topics(&self) -> Vec<String> {
        let topology = (self.world.topology)();
        let internal = topology.internal_topics().iter().map(|topic| topic.name.to_string());
        self.topics.iter().cloned().chain(internal).collect()
    }

    /// Nothing goes wrong any more.
    fn heal(&self) {
        self.world.note("the last fault is over");
        self.world.faulty.store(false, Ordering::Relaxed);
        self.world.slots.iter().for_each(|slot| slot.disk.heal());
        self.world.release();
    }

    /// Everybody has his turn until nothing changes any more.
    fn settle(&self) -> Result<(), String> {
        let clock = &self.world.clock;
        let give_up = clock.now() + SETTLES_WITHIN.as_millis() as i64;
        let ended = lock(&self.world.history).len();
        let (mut last, mut since) = (Vec::new(), clock.now());
        loop {
            for index in 0..self.world.slots.len() {
                if !self.world.is_running(index) {
                    self.fails_no_more(ended)?;
                    self.world.start(index);
                }
                (0..6).for_each(|component| self.world.turn(index, component));
            }
            clock.advance(Duration::from_millis(20));
            let (statuses, now) = (self.statuses(), clock.now());
            let is_quiet = now - since >= QUIET.as_millis() as i64;
            if is_quiet && self.left_to_do(&statuses)?.is_none() {
                return Ok(());
            }
            let picture = self.picture(&statuses)?;
            if picture != last {
                (last, since) = (picture, now);
            }
            if now > give_up {
                let left = self.left_to_do(&statuses)?.unwrap_or_else(|| "quiet".to_owned());
                return Err(format!("it does not come to an end: {left}\n{}", last.join("\n")));
            }
        }
    }

    /// A graceful stop may have been under way; an error or a panic must not be.
    fn fails_no_more(&self, since: usize) -> Result<(), String> {
        let history = lock(&self.world.history);
        let failed = history[since..].iter().find(|line| line.contains("ended: "));
        failed.map_or(Ok(()), |line| Err(format!("nothing goes wrong any more, but {line}")))
    }

    fn statuses(&self) -> Vec<Status> {
        (0..self.world.slots.len()).filter_map(|index| self.world.status(index)).collect()
    }

    /// What must not change any more: who has what, and where he is.
    fn picture(&self, statuses: &[Status]) -> Result<Vec<String>, String> {
        let tasks = statuses.iter().map(|status| {
            let tasks = status.tasks.iter();
            let tasks = tasks.map(|(task, status)| {
                let inputs = status.inputs.iter().map(|input| input.position);
                format!("{task} {:?} {:?}", status.state, inputs.collect::<Vec<_>>())
            });
            tasks.collect::<Vec<_>>().join(", ")
        });
        Ok(tasks.collect())
    }

    /// A partition of a source that nobody has, or with records that its owner has not processed.
    fn left_to_do(&self, statuses: &[Status]) -> Result<Option<String>, String> {
        let topology = (self.world.topology)();
        for source in topology.sub_topologies().iter().flat_map(|sub| sub.sources()) {
            for partition in check::partitions(self.world, &source.topic)? {
                let inputs = statuses.iter().flat_map(|status| status.tasks.values());
                let mut inputs = inputs.flat_map(|task| &task.inputs).filter(|input| {
                    input.topic == partition.topic && input.partition == partition.partition
                });
                let Some(input) = inputs.next() else {
                    return Ok(Some(format!("nobody has {partition}")));
                };
                let records = check::committed(self.world, &partition)?.records;
                if let Some(last) = records.last().filter(|last| last.offset >= input.position) {
                    let (at, position) = (last.offset, input.position);
                    return Ok(Some(format!("{partition} is at {position}, a record at {at}")));
                }
            }
        }
        Ok(None)
    }

    /// Everybody stops gracefully.
    fn stop(&self) -> Result<(), String> {
        let count = self.world.slots.len();
        (0..count).for_each(|index| self.world.stop(index));
        for _ in 0..2_000 {
            for index in 0..count {
                (0..6).for_each(|component| self.world.turn(index, component));
            }
            self.world.clock.advance(Duration::from_millis(10));
            if (0..count).all(|index| !self.world.is_running(index)) {
                return Ok(());
            }
        }
        Err("a graceful stop does not come to an end".to_owned())
    }
}

/// The next record of some feed that has one left.
fn write(
    feeds: &mut [Feed],
    fed: &mut [u64],
    dice: &mut Dice,
    writer: &mut dyn Producer,
) -> Result<(), String> {
    let left: Vec<_> = (0..feeds.len()).filter(|index| fed[*index] < feeds[*index].count).collect();
    let Some(&index) = left.get(dice.below(left.len())) else { return Ok(()) };
    let feed = &mut feeds[index];
    let record = (feed.make)(dice, fed[index]);
    fed[index] += 1;
    let sent = writer.send(&Outgoing {
        topic: &feed.topic,
        partition: None,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        timestamp: record.timestamp,
        headers: None,
    });
    sent.and_then(|()| writer.flush(Duration::ZERO)).map_err(|error| error.to_string())
}
