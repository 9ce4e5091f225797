//! An application on the embedded log: group, fetch, tasks, transactions and commits, on one thread
//! under a manual clock, so that it can be repeated exactly.

use std::sync::Arc;
use std::time::Duration;

use embedded::{EmbeddedLog, LogOptions};
use runtime::manual::{ManualApp, ManualAppParts};
use runtime::transport::{Producer, ProducerConfig, Transport};
use runtime::{Client, Clock, Config, ManualClock};
use serde::{Deserialize, Serialize};
use state::MemoryStores;
use streams_core::codec::Text;
use streams_core::{Builder, Table, Topic, Topology};
use testkit::Dice;

use crate::codecs::Order;
use crate::feed::EncodedRecords;
use crate::workload::{Workload, WorkloadKind};

const RECORDS: usize = 4_000;
const CUSTOMERS: usize = 400;
const PARTITIONS: i32 = 4;
/// The number of rounds on one log. A log in memory would grow without bound.
const ROUNDS_MAX: u64 = 20;
/// A poll fetches 2,000 records, and a task processes 1,000 at a time: two are enough.
const TURNS: usize = 4;
/// A worker starts with few records per turn, and doubles their number.
const TURNS_AT_FIRST: usize = 16;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = RECORDS as u64;
    vec![
        WorkloadKind::counted("end_to_end/map", N, || Box::new(EndToEnd::new(orders_to_shipments))),
        WorkloadKind::counted("end_to_end/count", N, || {
            Box::new(EndToEnd::new(count_per_customer))
        }),
    ]
}

fn orders() -> Topic<String, Order> {
    Topic::json("orders")
}

#[derive(Serialize, Deserialize)]
struct Shipment {
    shipment_id: String,
    order_id: String,
    customer_id: String,
    status: String,
    created_at: String,
}

/// The race's first job.
fn orders_to_shipments() -> Topology {
    let app = Builder::new("end-to-end");
    let shipment = |order: Order| Shipment {
        shipment_id: format!("ship-{}", order.order_id),
        order_id: order.order_id,
        customer_id: order.customer_id,
        status: "pending".to_owned(),
        created_at: order.timestamp,
    };
    let large = app.stream(&orders()).filter(|_, order| order.amount >= 1.0);
    large.map_values(shipment).to(&Topic::json("out"));
    app.build().expect("a topology")
}

/// The race's second job.
fn count_per_customer() -> Topology {
    let app = Builder::new("end-to-end");
    let counts = app.stream(&orders()).group_by_key().count(&Table::new("counts"));
    counts.latest().to(&Topic::with("out", streams_core::codec::Bytes, Text));
    app.build().expect("a topology")
}

struct EndToEnd {
    topology: fn() -> Topology,
    records: Arc<EncodedRecords>,
    world: RunningApplication,
}

impl EndToEnd {
    fn new(topology: fn() -> Topology) -> Self {
        let mut dice = Dice::new(41);
        let records = (0..RECORDS).map(|number| {
            let order = Order::rolled(&mut dice, number, CUSTOMERS);
            (order.customer_id.clone(), order, 0)
        });
        let records = EncodedRecords::of(&orders(), records);
        Self { topology, world: RunningApplication::new(topology, &records), records }
    }
}

impl Workload for EndToEnd {
    fn prepare(&mut self) {
        let commits = self.world.app.status().snapshot().commits.commits;
        assert_eq!(commits, self.world.rounds, "each round ends with a commit");
        if self.world.rounds == ROUNDS_MAX {
            self.world = RunningApplication::new(self.topology, &self.records);
        }
        self.world.rounds += 1;
        self.world.write(&self.records);
    }

    fn run(&mut self) {
        self.world.process(TURNS);
    }
}

/// A log with an application that has its tasks.
struct RunningApplication {
    clock: ManualClock,
    app: ManualApp,
    producer: Box<dyn Producer>,
    rounds: u64,
}

impl RunningApplication {
    fn new(topology: fn() -> Topology, records: &EncodedRecords) -> Self {
        let clock = ManualClock::new(0);
        let log = LogOptions::default().clock(Arc::new(clock.clone())).in_memory();
        let client = Client::new(Arc::new(log.clone()));
        for topic in ["orders", "out"] {
            client.create_topic(topic, PARTITIONS).expect("the log takes topics");
        }
        let instance_id = Some("bench".into());
        let app = ManualApp::start(ManualAppParts {
            topology: Arc::new(topology()),
            config: Config { instance_id, ..Config::default() },
            transport: Arc::new(log.clone()),
            stores: Arc::new(MemoryStores::new()),
            clock: Arc::new(clock.clone()),
        });
        let app = app.expect("it starts");
        let mut world = Self { clock, app, producer: producer(&log), rounds: 0 };
        let status = world.app.status();
        while !status.is_running() {
            world.turn_all();
            world.clock.advance(Duration::from_millis(10));
        }
        world.write(records);
        world.process(TURNS_AT_FIRST);
        world.rounds = status.snapshot().commits.commits;
        world
    }

    /// Processes what was written, up to its commit.
    fn process(&mut self, turns: usize) {
        (0..turns).for_each(|_| self.turn_all());
        self.clock.advance(Duration::from_millis(250));
        self.turn_all();
    }

    fn turn_all(&mut self) {
        for component in 0..self.app.components() {
            self.app.turn(component).expect("nothing fails");
        }
    }

    fn write(&mut self, records: &EncodedRecords) {
        let topic = Arc::clone(orders().name());
        let timestamp = self.clock.now();
        records.send(&mut *self.producer, &topic, |_| timestamp);
    }
}

fn producer(log: &EmbeddedLog) -> Box<dyn Producer> {
    let config = ProducerConfig {
        transactional_id: None,
        transaction_timeout: Duration::from_secs(10),
        buffer_bytes_max: 64 << 20,
    };
    let mut producer = log.producer(&config).expect("the log has producers");
    producer.init(Duration::ZERO).expect("it begins");
    producer
}
