//! Runs a case in one task, and in instances on the embedded log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::build::build;
use conformance::case::InputStep;
use conformance::key::{Key, KeyCodec, Rec, ValCodec, val};
use headwater::client::Client;
use headwater::codec::{Bytes, Nullable};
use headwater::{App, Config, Record, Topic};
use testkit::{Dice, TopologyTest};
use tokio::sync::oneshot;

use crate::order_free::OrderFree;

/// Per topic, the last value of each key.
pub(crate) type Tables = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;
type RawTopic = Topic<Option<Vec<u8>>, Option<Vec<u8>>>;

const PARTITIONS: i32 = 3;
/// The records are dated 1970; a log deletes by date.
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];

/// The topics to compare: changelogs of tables, and those that tables are sent to.
fn topics(case: &OrderFree) -> BTreeSet<String> {
    let changelogs = case.tables.iter().map(|name| format!("case-{name}-changelog"));
    changelogs.chain(case.topics.iter().cloned()).collect()
}

fn inputs(case: &OrderFree) -> Vec<(String, Rec)> {
    let record = |step: &InputStep| match step {
        InputStep::Clock { .. } => None,
        InputStep::Record { topic, key, value, ts } => {
            let key = Key::from_json(key).expect("a key");
            Some((topic.clone(), Record::new(key, val(Some(value.clone())), *ts)))
        }
    };
    case.case.input.iter().filter_map(record).collect()
}

/// In one task, record by record.
pub(crate) fn alone(case: &OrderFree) -> Tables {
    let mut test = TopologyTest::new(build(&case.case).expect("it builds").topology);
    for (topic, record) in inputs(case) {
        let topic = Topic::with(topic.as_str(), KeyCodec, ValCodec);
        test.send_record(&topic, record).expect("it is processed");
    }
    taken(case, &mut test)
}

/// In one task for each of three partitions, with random turns, aborts and crashes.
pub(crate) fn interleaved(case: &OrderFree, seed: u64) -> Tables {
    let topics = outer_topics(case);
    let partitions: Vec<_> = topics.iter().map(|topic| (topic.as_str(), PARTITIONS)).collect();
    let topology = build(&case.case).expect("it builds").topology;
    let mut test = TopologyTest::with_partitions(topology, &partitions);
    let mut dice = Dice::new(seed);
    test.interleave(dice.roll());
    let mut aborts = Dice::new(dice.roll());
    test.abort_when(move |_| aborts.below(6) == 0);
    for (topic, record) in inputs(case) {
        test.queue(&Topic::with(topic.as_str(), KeyCodec, ValCodec), &record).expect("queued");
        match dice.below(16) {
            0 => test.crash_keeping(dice.below(9)).expect("it is processed"),
            1 => test.run().expect("it is processed"),
            _ => {}
        }
    }
    test.run().expect("it is processed");
    taken(case, &mut test)
}

fn taken(case: &OrderFree, test: &mut TopologyTest) -> Tables {
    let mut tables = Tables::new();
    for topic in topics(case) {
        let records = test.take_raw(&topic).into_iter();
        fold(
            tables.entry(topic).or_default(),
            records.map(|record| (record.key.map(Into::into), record.value.map(Into::into))),
        );
    }
    tables
}

fn fold(
    table: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    records: impl Iterator<Item = (Option<Vec<u8>>, Option<Vec<u8>>)>,
) {
    for (key, value) in records {
        let key = key.unwrap_or_default();
        match value {
            Some(value) => drop(table.insert(key, value)),
            None => drop(table.remove(&key)),
        }
    }
}

/// In instances that start and stop, until the tables are as expected or time is up.
pub(crate) fn shared(case: &OrderFree, expected: &Tables, dice: &mut Dice) -> Tables {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    let found = runtime.block_on(share(case, expected, dice));
    runtime.shutdown_background();
    found
}

async fn share(case: &OrderFree, expected: &Tables, dice: &mut Dice) -> Tables {
    let log = Arc::new(embedded::EmbeddedLog::in_memory());
    let client = Client::new(Arc::clone(&log) as _);
    for topic in outer_topics(case) {
        client.create_topic_with(&topic, PARTITIONS, FOREVER).expect("created");
    }
    let mut instances = Instances { case, log, running: Vec::new() };
    instances.start(dice);
    let inputs = inputs(case);
    let changes: Vec<_> = (0..3).map(|_| dice.below(inputs.len() + 1)).collect();
    let mut writer = client.writer().expect("a writer");
    for (index, (topic, record)) in inputs.into_iter().enumerate() {
        match changes.iter().position(|change| *change == index) {
            Some(1) => instances.stop_first().await,
            Some(_) => instances.start(dice),
            None => {}
        }
        let topic = Topic::with(topic.as_str(), KeyCodec, ValCodec);
        let Record { key, value, timestamp } = record;
        writer.send(&topic, &key, &value, timestamp).expect("sent");
        if dice.below(4) == 0 {
            writer.flush().expect("flushed");
            tokio::time::sleep(Duration::from_millis(dice.roll() % 6)).await;
        }
    }
    writer.flush().expect("flushed");
    while instances.running.len() < 2 {
        instances.start(dice);
    }
    let until = Instant::now() + Duration::from_secs(20);
    while tables(case, &client) != *expected && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    instances.stop_all().await;
    // Late results must be right too.
    tables(case, &client)
}

fn outer_topics(case: &OrderFree) -> BTreeSet<String> {
    let shape = &case.case.topology;
    let sources = shape.sources.iter().flat_map(|source| {
        [&source.stream, &source.table, &source.global_table].into_iter().flatten().cloned()
    });
    let by = shape.sinks.iter().filter_map(|sink| sink.topic_by.as_ref());
    let by = by.flat_map(|by| by.topics.values().cloned().chain([by.default.clone()]));
    let sinks = shape.sinks.iter().filter_map(|sink| sink.topic.clone());
    let inputs = case.case.input.iter().filter_map(|step| match step {
        InputStep::Record { topic, .. } => Some(topic.clone()),
        InputStep::Clock { .. } => None,
    });
    sources.chain(by).chain(sinks).chain(inputs).collect()
}

fn tables(case: &OrderFree, client: &Client) -> Tables {
    let mut tables = Tables::new();
    for name in topics(case) {
        let table = tables.entry(name.clone()).or_default();
        // An instance that has not started has not created its changelogs.
        let topic = RawTopic::with(name.as_str(), Nullable(Bytes), Nullable(Bytes));
        let Ok(mut reader) = client.reader(&topic) else { continue };
        let records = reader.read_to_end().expect("it is read").into_iter();
        fold(table, records.map(|read| (read.record.key, read.record.value)));
    }
    tables
}

struct Instances<'a> {
    case: &'a OrderFree,
    log: Arc<embedded::EmbeddedLog>,
    running: Vec<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), headwater::errors::AppError>>,
}

impl Instances<'_> {
    fn start(&mut self, dice: &mut Dice) {
        let config = Config {
            commit_interval: Some(Duration::from_millis(1 + dice.roll() % 30)),
            heartbeat_interval: Duration::from_millis(20),
            worker_threads: 1 + dice.below(2),
            poll_records_max: 1 + dice.below(10),
            ..Config::default()
        };
        let topology = build(&self.case.case).expect("it builds").topology;
        let app = App::with_transport(topology, config, Arc::clone(&self.log) as _);
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        self.running.push(Running { stop, ended });
    }

    async fn stop_first(&mut self) {
        let Running { stop, ended } = self.running.remove(0);
        let _ = stop.send(());
        ended.await.expect("no panic").expect("a graceful stop");
    }

    async fn stop_all(&mut self) {
        while !self.running.is_empty() {
            self.stop_first().await;
        }
    }
}
