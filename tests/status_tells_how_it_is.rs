//! The status says whether an instance runs, with or without tasks, and how it ended; its totals
//! only grow.

mod support;

use std::time::Duration;

use headwater::prelude::*;
use headwater::spi::transport::{Outgoing, ProducerConfig};
use headwater::status::{AppState, StatusHandle, TaskCounters};
use support::{embedded, soon};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    status: StatusHandle,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), headwater::errors::AppError>>,
}

fn start(topology: Topology, config: &Config) -> Running {
    let app = App::new(topology, config.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let status = app.status();
    assert!(!status.is_running() && status.snapshot().state == AppState::New);
    let ended = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    Running { status, stop, ended }
}

fn doubling(id: &str) -> (Topology, Topic<String, String>, Topic<String, i64>) {
    let input = Topic::new(format!("{id}-in"));
    let output = Topic::new(format!("{id}-out"));
    let app = Builder::new(id);
    let parse = |text: String| text.parse::<i64>();
    app.stream(&input).try_map_values(parse).to(&output);
    (app.build().expect("valid"), input, output)
}

fn create(client: &Client, id: &str, partitions: i32) {
    for topic in ["in", "out"] {
        client.create_topic(&format!("{id}-{topic}"), partitions).expect("created");
    }
}

fn write(client: &Client, topic: &Topic<String, String>, texts: impl IntoIterator<Item = String>) {
    let mut writer = client.writer().expect("a writer");
    for (number, text) in texts.into_iter().enumerate() {
        writer.send(topic, &format!("key-{number}"), &text, 1_000).expect("sent");
    }
    writer.flush().expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_ended_by_an_error_does_not_run() {
    let (config, client) = embedded();
    create(&client, "ends", 1);
    let (topology, input, _) = doubling("ends");
    let Running { status, stop: _stop, ended } = start(topology, &config);
    soon("it runs", PATIENCE, || status.is_running()).await;
    write(&client, &input, ["no number".to_owned()]);
    let error = ended.await.expect("no panic").expect_err("the record fails").to_string();
    assert!(!status.is_running());
    let state = status.snapshot().state;
    assert_eq!(state, AppState::Ended { error: Some(error.clone()) });
    assert!(error.contains("ends-in-0 offset 0"), "{error}");
    assert!(status.snapshot().tasks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_stopped_was_dropped_or_never_started_does_not_run() {
    let (config, client) = embedded();
    create(&client, "stops", 1);
    let first = start(doubling("stops").0, &config);
    soon("it runs", PATIENCE, || first.status.is_running()).await;
    first.stop.send(()).expect("it listens");
    first.ended.await.expect("no panic").expect("a graceful stop");
    assert_eq!(first.status.snapshot().state, AppState::Ended { error: None });

    let second = start(doubling("stops").0, &config);
    soon("it runs", PATIENCE, || second.status.is_running()).await;
    second.ended.abort();
    soon("it is gone", PATIENCE, || !second.status.is_running()).await;

    let nowhere = Config { broker: "postgres://localhost".to_owned(), ..Config::default() };
    let third = start(doubling("stops").0, &nowhere);
    let error = third.ended.await.expect("no panic").expect_err("no such log").to_string();
    assert_eq!(third.status.snapshot().state, AppState::Ended { error: Some(error) });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_tasks_runs() {
    let (config, client) = embedded();
    create(&client, "spare", 1);
    let first = start(doubling("spare").0, &config);
    soon("the first runs", PATIENCE, || first.status.is_running()).await;
    let spare = start(doubling("spare").0, &config);
    soon("the spare runs", PATIENCE, || spare.status.is_running()).await;
    assert!(spare.status.snapshot().tasks.is_empty() && first.status.is_running());
    first.stop.send(()).expect("it listens");
    let takes_over = || spare.status.is_running() && spare.status.snapshot().tasks.len() == 1;
    soon("the spare takes over", PATIENCE, takes_over).await;
    spare.stop.send(()).expect("it listens");
    spare.ended.await.expect("no panic").expect("a graceful stop");
}

/// Two instances, and a task that moves from one to the other and back.
#[tokio::test(flavor = "multi_thread")]
async fn totals_include_tasks_that_are_gone() {
    let (config, client) = embedded();
    create(&client, "totals", 2);
    let (topology, input, _) = doubling("totals");
    let numbers = |count: usize| (0..count).map(|number| number.to_string());
    let first = start(topology, &config);
    write(&client, &input, numbers(500));
    let processed = |one: &Running| one.status.snapshot().totals.processed;
    soon("the first has processed", PATIENCE, || processed(&first) == 500).await;

    let second = start(doubling("totals").0, &config);
    let shared = || [&first, &second].iter().all(|one| one.status.snapshot().tasks.len() == 1);
    soon("each has a task", PATIENCE, shared).await;
    let of_tasks: u64 = first.status.snapshot().tasks.values().map(|task| task.processed).sum();
    assert!(of_tasks < 500, "the task that left took its counter with it: {of_tasks}");
    assert_eq!(processed(&first), 500);

    write(&client, &input, numbers(300));
    soon("both", PATIENCE, || processed(&first) + processed(&second) == 800).await;
    let before = first.status.snapshot().totals;
    second.stop.send(()).expect("it listens");
    second.ended.await.expect("no panic").expect("a graceful stop");
    write(&client, &input, numbers(200));
    let grown = || processed(&first) == before.processed + 200;
    soon("the first has it all", PATIENCE, grown).await;
    first.stop.send(()).expect("it listens");
    first.ended.await.expect("no panic").expect("a graceful stop");
    let end: TaskCounters = first.status.snapshot().totals;
    assert_eq!(end.processed, before.processed + 200, "also when nothing runs any more");
    assert_eq!(end.processed + second.status.snapshot().totals.processed, 1_000);
}

/// Work between the last status update and the end counts too.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_moment_counts() {
    let (config, client) = embedded();
    create(&client, "moment", 1);
    let (topology, input, output) = doubling("moment");
    write(&client, &input, (0..100).map(|number| number.to_string()));
    let app = start(topology, &config);
    let mut reader = client.reader(&output).expect("a reader");
    let mut read = 0;
    soon("all are out", PATIENCE, || {
        read += reader.read_to_end().expect("reads").len();
        read == 100
    })
    .await;
    app.stop.send(()).expect("it listens");
    app.ended.await.expect("no panic").expect("a graceful stop");
    assert_eq!(app.status.snapshot().totals.processed, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_records_and_retries_are_counted() {
    let (config, client) = embedded();
    create(&client, "retries", 1);
    let input = Topic::<String, String>::new("retries-in");
    let output = Topic::new("retries-out");
    let policy = ErrorPolicy::retry(2, Backoff::fixed(Duration::from_millis(300)));
    let app = Builder::new("retries");
    app.stream(input.consumed().on_error(policy.hold_key().then(ErrorPolicy::Skip)))
        .try_map_values(|text: String| text.parse::<i64>())
        .to(&output);
    write(&client, &input, ["no number".to_owned(), "7".to_owned()]);
    let app = start(app.build().expect("valid"), &config);
    let task = || app.status.snapshot().tasks.values().next().cloned();
    soon("one waits", PATIENCE, || task().is_some_and(|task| task.waiting == 1)).await;
    soon("none waits", PATIENCE, || task().is_some_and(|task| task.waiting == 0)).await;
    let task = task().expect("it runs");
    assert_eq!((task.retries, task.skipped, task.processed), (2, 1, 2));
    app.stop.send(()).expect("it listens");
    app.ended.await.expect("no panic").expect("a graceful stop");
    assert_eq!(app.status.snapshot().totals.retries, 2);
}

/// An input written in transactions ends with a marker, which is not delivered.
#[tokio::test(flavor = "multi_thread")]
async fn lag_reaches_zero_after_a_transaction() {
    let (config, client) = embedded();
    create(&client, "lag", 1);
    let (topology, input, _) = doubling("lag");
    let log = headwater::connect(&config).expect("a log");
    let producer = ProducerConfig {
        transactional_id: Some("lag-feeder".into()),
        transaction_timeout: Duration::from_secs(60),
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = log.producer(&producer).expect("a producer");
    producer.init(PATIENCE).expect("initialised");
    producer.begin().expect("begun");
    let key = Some(&b"a"[..]);
    let value = Some(&b"7"[..]);
    let topic = input.name();
    producer
        .send(&Outgoing { topic, partition: Some(0), key, value, timestamp: 1_000, headers: None })
        .expect("sent");
    producer.commit(PATIENCE).expect("committed");

    let app = start(topology, &config);
    let lag = || app.status.snapshot().tasks.values().next().and_then(|task| task.inputs[0].lag);
    soon("it has processed", PATIENCE, || app.status.snapshot().totals.processed == 1).await;
    soon("its lag is zero", PATIENCE, || lag() == Some(0)).await;
    app.stop.send(()).expect("it listens");
    app.ended.await.expect("no panic").expect("a graceful stop");
}
