//! On a real broker a stream is joined with its table as of each record's time, whichever of the
//! two is fetched first. All input exists before the start, instances are killed with `kill -9`,
//! and more input is written while none runs.
//!
//! `HEADWATER_RECORDS` sets the number of records; default 200,000.

mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use headwater::client::{Client, ReadRecord, RecordWriter, TopicReader};
use headwater::config::Transactions;
use headwater::prelude::*;
use headwater::{Config, Topology};
use support::child::{Instance, random_pause, run_child_with};
use support::kafka;

const PARTITIONS: i32 = 4;
const CUSTOMERS: u64 = 1_000;
const INSTANCES: usize = 2;
/// The number of records in each round.
const KILLS: u64 = 3;
const WITHIN: Duration = Duration::from_secs(120);

/// A customer's version, with padding: its topic takes many more fetches than the other, so it
/// lags.
type Version = (u64, String);

/// An order, and the version of its customer.
type Joined = (u64, Option<u64>);

/// Not a test: the child processes run it.
#[test]
fn child() {
    run_child_with(topology, |id, config| {
        // Any property that only librdkafka knows makes it fetch.
        if id.starts_with("librdkafka") {
            config.kafka.consumer.insert("check.crcs".to_owned(), "true".to_owned());
            config.kafka.transactions = Transactions::V1;
        }
    });
}

fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let customers = app.table(&customers(id), &Table::json("customers"));
    app.stream(&orders(id))
        .left_join_table(&customers, |_, order, version| {
            (*order, version.map(|(number, _)| *number))
        })
        .to(&joined(id));
    app.build().expect("a valid topology")
}

fn customers(id: &str) -> Topic<String, Version> {
    Topic::json(format!("{id}-versions"))
}

fn orders(id: &str) -> Topic<String, u64> {
    Topic::new(format!("{id}-orders"))
}

fn joined(id: &str) -> Topic<String, Joined> {
    Topic::json(format!("{id}-joined"))
}

/// Events are numbered by time, a millisecond apart: there are no ties. Every third is a new
/// version of a customer, with its number as the version; the others are orders.
fn is_order(number: u64) -> bool {
    !number.is_multiple_of(3)
}

fn customer(number: u64) -> u64 {
    (mixed(number) >> 32) % CUSTOMERS
}

fn mixed(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn version(number: u64) -> Version {
    // Digits that do not compress well.
    let digits = (1..=32).map(|at| format!("{:016x}", mixed(number).wrapping_mul(2 * at + 1)));
    (number, digits.collect())
}

/// The version that the customer of each order has at its time.
fn versions(total: u64) -> HashMap<u64, Option<u64>> {
    let mut now = HashMap::new();
    let mut expected = HashMap::new();
    for number in 0..total {
        let customer = customer(number);
        if is_order(number) {
            expected.insert(number, now.get(&customer).copied());
        } else {
            now.insert(customer, number);
        }
    }
    expected
}

struct Job {
    id: String,
    config: Config,
    client: Client,
    state: tempfile::TempDir,
    reader: TopicReader<String, Joined>,
    /// What came out.
    seen: Vec<Joined>,
}

impl Job {
    fn new(id: String, config: Config, client: Client) -> Self {
        for topic in [customers(&id).name(), orders(&id).name(), joined(&id).name()] {
            // The records have timestamps in 1970: a broker with its default retention would delete
            // them.
            let settings = [("retention.ms", "-1")];
            client.create_topic_with(topic, PARTITIONS, &settings).expect("created");
        }
        let reader = client.reader(&joined(&id)).expect("a reader");
        let state = tempfile::tempdir().expect("a directory");
        Self { id, config, client, state, reader, seen: Vec::new() }
    }

    fn feed_customers(&self, numbers: Range<u64>) {
        self.feed(numbers.filter(|number| !is_order(*number)), &customers(&self.id), version);
    }

    fn feed_orders(&self, numbers: Range<u64>) {
        self.feed(numbers.filter(|number| is_order(*number)), &orders(&self.id), |number| number);
    }

    fn feed<V: 'static>(
        &self,
        numbers: impl Iterator<Item = u64>,
        topic: &Topic<String, V>,
        value: impl Fn(u64) -> V,
    ) {
        let mut writer: RecordWriter = self.client.writer().expect("a writer");
        for number in numbers {
            let key = format!("customer-{}", customer(number));
            writer.send(topic, &key, &value(number), 1_000 + number as i64).expect("sent");
        }
        writer.flush().expect("flushed");
    }

    /// Runs the application until the orders before `number` are joined; meanwhile instances are
    /// killed.
    fn run_to(&mut self, number: u64) {
        let start = |number: usize| {
            Instance::start(&self.id, &self.config, &self.state.path().join(number.to_string()))
        };
        let mut instances: Vec<Instance> = (0..INSTANCES).map(start).collect();
        let before = self.seen.len() as u64;
        let wanted = (0..number).filter(|number| is_order(*number)).count() as u64;
        for kill in 1..=KILLS {
            // Somewhere in the backlog, and anywhere between two commits.
            self.read_until(before + (wanted - before) * kill / (KILLS + 1));
            std::thread::sleep(random_pause(Duration::from_millis(100)));
            let victim = &mut instances[kill as usize % INSTANCES];
            assert!(victim.is_running(), "an instance ended by itself: {}", victim.log());
            victim.kill();
            victim.start_again();
        }
        self.read_until(wanted);
        for mut instance in instances {
            assert!(instance.is_running(), "an instance ended by itself: {}", instance.log());
            // A restarted instance may not handle signals yet, and is killed by this one, which
            // loses nothing.
            instance.stop();
        }
    }

    fn read_until(&mut self, wanted: u64) {
        let until = Instant::now() + WITHIN;
        while (self.seen.len() as u64) < wanted {
            let seen = self.seen.len();
            assert!(Instant::now() < until, "only {seen} of {wanted} orders were joined");
            let read = self.reader.next(Duration::from_millis(100)).expect("reads");
            self.seen.extend(read.map(|ReadRecord { record, .. }| record.value));
        }
    }

    /// Every order once, with the customer's version at its time.
    fn check(mut self, total: u64) {
        let extra = self.reader.next(Duration::from_secs(1)).expect("reads");
        assert!(extra.is_none(), "more than there are orders: {extra:?}");
        let mut expected = versions(total);
        let mut absent = 0;
        let mut later = 0;
        let mut earlier = 0;
        for (order, version) in self.seen {
            let right = expected.remove(&order).unwrap_or_else(|| panic!("{order} came twice"));
            absent += u64::from(version.is_none() && right.is_some());
            later += u64::from(version.is_some() && version > right);
            earlier += u64::from(version.is_some() && version < right);
        }
        assert!(expected.is_empty(), "{} orders are missing", expected.len());
        assert!(
            (absent, later, earlier) == (0, 0, 0),
            "{absent} orders have no customer, {later} a later and {earlier} an earlier version"
        );
    }
}

fn is_joined_as_of_its_time(client_of: &str) {
    let Some((config, client)) = kafka() else { return };
    let total =
        std::env::var("HEADWATER_RECORDS").map_or(200_000, |n| n.parse().expect("a number"));
    let mut job = Job::new(support::unique(client_of), config, client);
    job.feed_customers(0..total / 2);
    job.feed_orders(0..total / 2);
    job.run_to(total / 2);
    // The other way round: the input that exists first would be processed first.
    job.feed_orders(total / 2..total);
    job.feed_customers(total / 2..total);
    job.run_to(total);
    job.check(total);
}

#[test]
fn what_our_client_fetches_is_joined_as_of_its_time() {
    is_joined_as_of_its_time("own-client");
}

#[test]
fn what_librdkafka_fetches_is_joined_as_of_its_time() {
    is_joined_as_of_its_time("librdkafka");
}
