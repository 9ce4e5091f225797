//! The application, its input, and what its output must be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::codec::{Json, Text};
use headwater::errors::ErrorPolicy;
use headwater::prelude::*;
use headwater::spi::transport::{Outgoing, Producer, ProducerConfig, ReaderConfig, TransportError};
use headwater::topics::TopicPartition;

use crate::broker::Broker;

const BUCKETS: u64 = 40;
const PARTITIONS: i32 = 6;

/// The records of one input transaction, which also has one that cannot be decoded.
const GOOD: u64 = 99;

/// The time limit of each step of an input transaction. A broker on a busy machine has taken 17 s
/// to restart. A shorter transaction time-out would end the transaction while the feeder still
/// waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys are text and values JSON, so that Kafka's own tools can print them.
fn topic(name: impl Into<Arc<str>>) -> Topic<String, u64> {
    Topic::with(name, Text, Json)
}

/// Re-keys, counts in a table, sends every count: anything lost or done twice shows in the sequence
/// of a key's counts.
pub fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = topic(format!("{id}-in"));
    let dead = ErrorPolicy::dead_letter(format!("{id}-dead"));
    app.stream(input.consumed().on_error(dead))
        .group_by("by-bucket", |_, value| name(value % BUCKETS))
        .count(&Table::new("counts"))
        .to(&topic(format!("{id}-out")));
    app.build().expect("a valid topology")
}

fn name(bucket: u64) -> String {
    format!("bucket-{bucket}")
}

pub struct Job {
    pub id: String,
    pub config: Config,
    pub client: Client,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Committed good records, and committed ones that cannot be decoded.
    fed: AtomicU64,
    dead: AtomicU64,
    aborted: AtomicU64,
    /// The first value whose count has not been read from the output. The counts of each bucket
    /// came without gap or repeat, and other buckets do not make up for one that is stuck.
    counted: AtomicU64,
    stop: AtomicBool,
}

impl Job {
    pub fn start(config: Config, id: &str) -> Self {
        let client = headwater::client(&config).expect("a client");
        for topic in ["in", "out", "dead"] {
            let topic = format!("{id}-{topic}");
            client.create_topic(&topic, PARTITIONS).expect("created");
        }
        let shared = Arc::new(Shared::default());
        let id = id.to_owned();
        let feeding = Arc::clone(&shared);
        let watching = Arc::clone(&shared);
        let of_feeder = config.clone();
        let of_watcher = config.clone();
        let input = format!("{id}-in");
        let output = format!("{id}-out");
        let threads = vec![
            std::thread::spawn(move || feed(&of_feeder, &input, &feeding)),
            std::thread::spawn(move || watch(&of_watcher, &output, &watching)),
        ];
        Self { id, config, client, shared, threads }
    }

    pub fn fed(&self) -> u64 {
        self.shared.fed.load(Ordering::Acquire)
    }

    pub fn counted(&self) -> u64 {
        self.shared.counted.load(Ordering::Acquire)
    }

    /// Whether the feeder or the watcher has ended, which happens only by a panic.
    pub fn gave_up(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// The ends of all topics and the group's offsets, to find out why nothing moves.
    pub fn print_offsets(&self) {
        let log = headwater::connect(&self.config).expect("a log");
        let within = Duration::from_secs(10);
        for topic in ["in", "by-bucket-repartition", "counts-changelog", "out"] {
            let topic: Arc<str> = format!("{}-{topic}", self.id).into();
            for read_committed in [false, true] {
                let mut reader = log.reader(&ReaderConfig::new(read_committed)).expect("a reader");
                let partitions =
                    (0..PARTITIONS).map(|n| TopicPartition::new(Arc::clone(&topic), n));
                let ends: Vec<_> = partitions
                    .map(|partition| {
                        let (_, end) = reader.bounds(&partition, within).expect("bounds");
                        let from = (end - 3_000).max(0);
                        reader.add(&partition, from).expect("added");
                        (partition, end)
                    })
                    .collect();
                let until = Instant::now() + Duration::from_secs(2);
                while Instant::now() < until {
                    let _ = reader.poll(Duration::from_millis(100), 10_000);
                }
                let seen = ends.iter().map(|(partition, end)| (reader.position(partition), end));
                println!("{topic}, committed {read_committed}: {:?}", seen.collect::<Vec<_>>());
            }
        }
    }

    /// Whether everything fed so far is counted.
    pub fn is_done(&self) -> bool {
        self.shared.counted.load(Ordering::Acquire) == self.fed()
    }

    /// Stops feeding, and checks everything with Kafka's own consumer.
    pub fn check(mut self, broker: &Broker, catch_up: impl Fn(&Self)) {
        // The watcher goes on until it has seen everything.
        self.shared.stop.store(true, Ordering::Release);
        self.threads.remove(0).join().expect("fed");
        catch_up(&self);
        let fed = self.fed();
        let dead = self.shared.dead.load(Ordering::Acquire);
        let aborted = self.shared.aborted.load(Ordering::Acquire);
        assert!(aborted > 0 && dead > 0);
        let counts = broker.consume(&format!("{}-out", self.id), fed);
        let mut seen = BTreeMap::<String, u64>::new();
        for (key, value) in &counts {
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            assert_eq!(value.parse(), Ok(*count), "{key}: lost or doubled, by Kafka's consumer");
        }
        assert_eq!(counts.len() as u64, fed, "counts, by Kafka's own consumer");
        let letters = broker.consume(&format!("{}-dead", self.id), dead);
        assert_eq!(letters.len() as u64, dead, "dead letters, by Kafka's own consumer");
        let is_aborted = |(_, bad): &(String, String)| bad.ends_with("aborted true");
        assert_eq!(letters.iter().find(|letter| is_aborted(letter)), None, "of aborted input");
        println!("{fed} counts and {dead} dead letters exact; {aborted} records of aborted input");
    }
}

/// Commits transactions of input until told to stop; every fifth is aborted instead.
fn feed(config: &Config, topic: &str, shared: &Shared) {
    let log = headwater::connect(config).expect("a log");
    let topic: Arc<str> = topic.into();
    let config = ProducerConfig {
        transactional_id: Some(format!("{topic}-feeder").into()),
        transaction_timeout: PATIENCE,
        buffer_bytes_max: 16 << 20,
    };
    let fresh = || -> Option<Box<dyn Producer>> {
        let mut producer = log.producer(&config).ok()?;
        producer.init(Duration::from_secs(20)).ok()?;
        Some(producer)
    };
    let mut producer = fresh();
    let mut transactions = 0_u64;
    while !shared.stop.load(Ordering::Acquire) {
        let Some(current) = &mut producer else {
            producer = fresh();
            continue;
        };
        let next = shared.fed.load(Ordering::Acquire);
        transactions += 1;
        let is_aborted = transactions.is_multiple_of(5);
        // The undecodable record of each says which transaction it was.
        let bad = format!("attempt {transactions}, aborted {is_aborted}");
        match transaction(&mut **current, &topic, next, &bad, is_aborted) {
            Ok(()) if is_aborted => drop(shared.aborted.fetch_add(GOOD, Ordering::AcqRel)),
            Ok(()) => {
                shared.dead.fetch_add(1, Ordering::AcqRel);
                shared.fed.fetch_add(GOOD, Ordering::AcqRel);
            }
            Err(Failed::Before(error)) => {
                println!("the feeder: {bad}: {error}");
                producer = fresh();
            }
            Err(Failed::Unknown(error)) => panic!("it is unknown what was fed: {error}"),
        }
        std::thread::sleep(Duration::from_millis(40));
    }
}

enum Failed {
    /// Nothing of the transaction was, or will be, committed.
    Before(TransportError),
    Unknown(TransportError),
}

fn transaction(
    producer: &mut dyn Producer,
    topic: &Arc<str>,
    next: u64,
    bad: &str,
    is_aborted: bool,
) -> Result<(), Failed> {
    producer.begin().map_err(Failed::Before)?;
    for value in next..=next + GOOD {
        let key = format!("key-{value}");
        let text = value.to_string();
        let text = if value == next + GOOD { bad } else { &text };
        let record = Outgoing {
            topic,
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(text.as_bytes()),
            timestamp: now(),
            headers: None,
        };
        producer.send(&record).map_err(Failed::Before)?;
    }
    producer.flush(PATIENCE).map_err(Failed::Before)?;
    if is_aborted {
        return producer.abort(PATIENCE).map_err(Failed::Before);
    }
    producer.commit(PATIENCE).map_err(Failed::Unknown)
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

/// A key, its last count, and the count's partition and offset.
type Counted = (String, (u64, i32, i64));

/// Reads the output as it comes: each key's counts are 1, 2, 3, … without gap or repeat.
fn watch(config: &Config, output: &str, shared: &Shared) {
    let client = headwater::client(config).expect("a client");
    let mut reader = client.reader(&topic(output)).expect("a reader");
    // The last count of each key and its position, in the order of the buckets.
    let mut counts = Vec::from_iter((0..BUCKETS).map(|bucket| (name(bucket), (0, 0, 0))));
    while !(shared.stop.load(Ordering::Acquire)
        && shared.counted.load(Ordering::Acquire) == shared.fed.load(Ordering::Acquire))
    {
        let read = match reader.next(Duration::from_millis(200)) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(error) => {
                println!("the watcher: {error}");
                continue;
            }
        };
        let key = &read.record.key;
        let value = read.record.value;
        let found = counts.iter_mut().find(|(name, _)| name == key);
        let (_, last) = found.expect("the key of a bucket");
        let here = (last.0 + 1, read.partition, read.offset);
        assert_eq!(value, here.0, "{key} is lost or doubled: {here:?} after {last:?}");
        *last = here;
        let counted = first_missing(&counts);
        shared.counted.store(counted, Ordering::Release);
        let fed = shared.fed.load(Ordering::Acquire);
        assert!(counted <= fed + GOOD, "{counted} counted, of {fed} and what is being committed");
    }
}

/// Values are counted by bucket, in order within each.
fn first_missing(counts: &[Counted]) -> u64 {
    let next = |(bucket, (_, last)): (u64, &Counted)| last.0 * BUCKETS + bucket;
    (0..).zip(counts).map(next).min().unwrap_or(0)
}
