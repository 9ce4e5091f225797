//! Every instance has all rows of a global table before its first task starts, keeps them up to
//! date, and reads only the tail when it restarts.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::config::TableStorage;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::status::{GlobalState, StatusHandle};
use support::lab::wait_for;
use support::{embedded, kafka, unique};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The names of one test's application and topics.
struct Names {
    id: String,
    orders: Topic<u64, String>,
    countries: Topic<String, String>,
    out: Topic<u64, String>,
}

impl Names {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            orders: Topic::new(format!("{id}-orders")),
            countries: Topic::new(format!("{id}-countries")),
            out: Topic::new(format!("{id}-out")),
        }
    }

    fn create(&self, client: &Client) {
        for (topic, partitions) in [(self.orders.name(), 2), (self.countries.name(), 3)] {
            client.create_topic(topic, partitions).expect("created");
        }
        client.create_topic(self.out.name(), 2).expect("created");
    }

    /// Orders with the names of their countries.
    fn topology(&self, policy: ErrorPolicy) -> Topology {
        let app = Builder::new(self.id.as_str());
        let countries = app.global_table(
            self.countries.consumed_rows().on_error(policy),
            &Table::new("countries"),
        );
        app.stream(&self.orders)
            .left_join_global(
                &countries,
                |_, code| code.clone(),
                |_, code, name| name.cloned().unwrap_or_else(|| format!("{code}?")),
            )
            .to(&self.out);
        app.build().expect("valid")
    }

    fn name(&self, client: &Client, code: &str, name: &str) {
        let mut writer = client.writer().expect("a writer");
        let code = code.to_owned();
        let name = name.to_owned();
        writer.send(&self.countries, &code, &name, now()).expect("sent");
        writer.flush().expect("flushed");
    }

    fn order(&self, client: &Client, numbers: std::ops::Range<u64>, code: &str) {
        let mut writer = client.writer().expect("a writer");
        for number in numbers {
            writer.send(&self.orders, &number, &code.to_owned(), now()).expect("sent");
        }
        writer.flush().expect("flushed");
    }

    /// The results by order, once there are this many.
    async fn results(&self, client: &Client, count: usize) -> BTreeMap<u64, String> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let mut reader = client.reader(&self.out).expect("a reader");
            let read = reader.read_to_end().expect("read").into_iter();
            let results: BTreeMap<_, _> = read.map(|r| (r.record.key, r.record.value)).collect();
            if results.len() >= count || Instant::now() > until {
                return results;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

struct Running {
    stop: oneshot::Sender<()>,
    status: StatusHandle,
    ended: JoinHandle<Result<(), AppError>>,
}

impl Running {
    async fn start(topology: Topology, config: Config) -> Self {
        let app = App::new(topology, config);
        let status = app.status();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        wait_for("its tasks", || status.is_running()).await;
        Self { stop, status, ended }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.ended.await.expect("no panic").expect("a graceful stop");
    }

    fn read(&self) -> u64 {
        self.status.snapshot().globals["countries"].read
    }
}

fn on_disk(config: &Config, directory: &Path) -> Config {
    let state_dir = Some(directory.to_owned());
    Config { state_dir, tables: Some(TableStorage::Rocksdb), ..config.clone() }
}

/// Two instances, with rows in partitions unrelated to those of the orders.
async fn are_whole_and_follow(config: Config, client: Client) {
    let names = Names::new(&unique("whole"));
    names.create(&client);
    for (code, name) in [("no", "Norway"), ("pt", "Portugal"), ("jp", "Japan"), ("pe", "Peru")] {
        names.name(&client, code, name);
    }
    let first = Running::start(names.topology(ErrorPolicy::Fail), config.clone()).await;
    let second = Running::start(names.topology(ErrorPolicy::Fail), config).await;
    assert_eq!(second.status.snapshot().globals["countries"].state, GlobalState::Following);
    assert_eq!(second.read(), 4, "all rows are there before the first task");
    for (index, code) in ["no", "pt", "jp", "pe", "xx"].into_iter().enumerate() {
        let from = index as u64 * 10;
        names.order(&client, from..from + 10, code);
    }
    let results = names.results(&client, 50).await;
    for (order, name) in results {
        let expected = ["Norway", "Portugal", "Japan", "Peru", "xx?"][order as usize / 10];
        assert_eq!(name, expected, "order {order}");
    }
    names.name(&client, "xx", "Atlantis");
    wait_for("the new row", || first.read() == 5 && second.read() == 5).await;
    names.order(&client, 50..60, "xx");
    let results = names.results(&client, 60).await;
    assert!((50..60).all(|order| results[&order] == "Atlantis"), "{results:?}");
    first.stop().await;
    second.stop().await;
}

async fn come_back_by_their_tail(config: Config, client: Client) {
    let directory = tempfile::tempdir().expect("a directory");
    let names = Names::new(&unique("tail"));
    names.create(&client);
    (0..100).for_each(|number| names.name(&client, &format!("c{number}"), "old"));
    let config = on_disk(&config, directory.path());
    let first = Running::start(names.topology(ErrorPolicy::Fail), config.clone()).await;
    assert_eq!(first.read(), 100);
    first.stop().await;
    names.name(&client, "c7", "new");
    let again = Running::start(names.topology(ErrorPolicy::Fail), config).await;
    assert_eq!(again.read(), 1, "only what is new is read");
    names.order(&client, 0..1, "c7");
    names.order(&client, 1..2, "c8");
    let results = names.results(&client, 2).await;
    assert_eq!((results[&0].as_str(), results[&1].as_str()), ("new", "old"));
    again.stop().await;
}

async fn refuse_what_is_no_row(config: Config, client: Client) {
    let names = Names::new(&unique("no-row"));
    names.create(&client);
    // Eight bytes that are not UTF-8.
    let broken = Topic::<String, u64>::new(names.countries.name().to_string());
    let mut writer = client.writer().expect("a writer");
    names.name(&client, "no", "Norway");
    writer.send(&broken, &"no".to_owned(), &u64::MAX, now()).expect("sent");
    writer.flush().expect("flushed");
    let run = App::new(names.topology(ErrorPolicy::Fail), config.clone());
    let ended = tokio::time::timeout(Duration::from_secs(30), run.run(std::future::pending()));
    let error = ended.await.expect("it ends").expect_err("it fails").to_string();
    let place = format!("{}-", names.countries.name());
    assert!(error.contains("global table countries: record at "), "{error}");
    assert!(error.contains(&place) && error.contains("offset 1: the value cannot be"), "{error}");
    let skipping = Running::start(names.topology(ErrorPolicy::Skip), config).await;
    assert_eq!(skipping.status.snapshot().globals["countries"].skipped, 1);
    names.order(&client, 0..1, "no");
    assert_eq!(names.results(&client, 1).await[&0], "Norway");
    skipping.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log_they_are_whole_and_follow() {
    let (config, client) = embedded();
    are_whole_and_follow(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_they_are_whole_and_follow() {
    let Some((config, client)) = kafka() else { return };
    are_whole_and_follow(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log_they_come_back_by_their_tail() {
    let (config, client) = embedded();
    come_back_by_their_tail(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_they_come_back_by_their_tail() {
    let Some((config, client)) = kafka() else { return };
    come_back_by_their_tail(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log_they_refuse_what_is_no_row() {
    let (config, client) = embedded();
    refuse_what_is_no_row(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_they_refuse_what_is_no_row() {
    let Some((config, client)) = kafka() else { return };
    refuse_what_is_no_row(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_is_named() {
    let (config, client) = embedded();
    let names = Names::new("no-countries");
    client.create_topic(names.orders.name(), 1).expect("created");
    client.create_topic(names.out.name(), 1).expect("created");
    let run = App::new(names.topology(ErrorPolicy::Fail), config).run(std::future::pending());
    let error = run.await.expect_err("refused").to_string();
    assert!(error.contains("no-countries-countries does not exist"), "{error}");
    assert!(error.contains("global table"), "{error}");
}
