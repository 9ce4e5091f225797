//! When a topic gets more partitions, its keys move away from an application's state. The
//! application ends with an error that names the topic and both numbers, while it runs and at its
//! next start. Until then nothing is lost or done twice.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded::EmbeddedLog;
use headwater::Topology;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::Transport;
use testkit::faults::SurvivingStores;

fn input(id: &str) -> Topic<String, u64> {
    Topic::new(format!("{id}-in"))
}

fn output(id: &str) -> Topic<String, u64> {
    Topic::new(format!("{id}-out"))
}

fn counting(id: &str) -> Topology {
    let app = Builder::new(id);
    app.stream(&input(id)).group_by_key().count(&Table::new("counts")).to(&output(id));
    app.build().expect("valid")
}

fn copying(id: &str) -> Topology {
    let app = Builder::new(id);
    app.stream(&input(id)).to(&output(id));
    app.build().expect("valid")
}

struct World {
    id: &'static str,
    log: EmbeddedLog,
    client: Client,
    stores: SurvivingStores,
}

impl World {
    fn new(id: &'static str) -> Self {
        let log = EmbeddedLog::in_memory();
        let client = Client::new(Arc::new(log.clone()) as Arc<dyn Transport>);
        for topic in [input(id), output(id)] {
            client.create_topic(topic.name(), 2).expect("created");
        }
        Self { id, log, client, stores: SurvivingStores::new() }
    }

    fn app(&self, topology: Topology) -> App {
        let log: Arc<dyn Transport> = Arc::new(self.log.clone());
        let config = Config { instance_id: Some("one".into()), ..Config::default() };
        App::with_transport(topology, config, log).with_stores(Arc::new(self.stores.clone()))
    }

    fn feed(&self, values: std::ops::Range<u64>) {
        let mut writer = self.client.writer().expect("a writer");
        for value in values {
            let key = format!("key-{}", value % 20);
            let sent = writer.send(&input(self.id), &key, &value, 1_700_000_000_000);
            sent.expect("sent");
        }
        writer.flush().expect("flushed");
    }

    /// The next `count` records of the output.
    fn read(&self, count: usize) -> Vec<(String, u64)> {
        let mut reader = self.client.reader(&output(self.id)).expect("a reader");
        let mut read = Vec::new();
        let until = Instant::now() + Duration::from_secs(20);
        while read.len() < count && Instant::now() < until {
            let next = reader.next(Duration::from_millis(50)).expect("reads");
            read.extend(next.map(|next| (next.record.key, next.record.value)));
        }
        let extra = reader.next(Duration::from_millis(200)).expect("reads");
        assert!(extra.is_none(), "more than {count}: {extra:?}");
        read
    }
}

async fn error_of(app: App) -> AppError {
    let ended = tokio::time::timeout(Duration::from_secs(20), app.run(std::future::pending()));
    ended.await.expect("it ends").expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_state_ends_and_names_topic_and_numbers() {
    let world = World::new("grows");
    let running = tokio::spawn(error_of(world.app(counting("grows"))));
    world.feed(0..200);
    let counts = world.read(200);
    world.log.grow_topic("grows-in", 5).expect("grown");
    // Some of these are in partitions where their keys were not before.
    world.feed(200..400);
    let error = running.await.expect("no panic");
    assert!(matches!(error, AppError::TopicGrew { before: 2, now: 5, .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("grows-in has grown from 2 to 5"), "{error}");

    let error = error_of(world.app(counting("grows"))).await.to_string();
    for part in ["grows-counts-changelog", ": 2, and must have 5, as grows-in has"] {
        assert!(error.contains(part), "{error}");
    }
    // Counted records were counted once, and stay; the rest are still in the input.
    let mut last = BTreeMap::<String, u64>::new();
    for (key, count) in counts {
        let before = last.insert(key, count).unwrap_or(0);
        assert_eq!(count, before + 1);
    }
    assert_eq!(last.values().sum::<u64>(), 200);
    let mut inputs = world.client.reader(&input("grows")).expect("a reader");
    let mut found = 0;
    while inputs.next(Duration::from_millis(200)).expect("reads").is_some() {
        found += 1;
    }
    assert_eq!(found, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_without_state_takes_the_new_partitions() {
    let world = World::new("wide");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(world.app(copying("wide")).run(async {
        let _ = stopped.await;
    }));
    world.feed(0..100);
    world.read(100);
    world.log.grow_topic("wide-in", 5).expect("grown");
    world.feed(100..300);
    let mut values: Vec<_> = world.read(300).into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    assert_eq!(values, (0..300).collect::<Vec<_>>());
    stop.send(()).expect("it runs");
    running.await.expect("no panic").expect("a graceful stop");
}
