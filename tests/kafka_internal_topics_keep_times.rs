//! On a real broker whose default is to use its own time and refuse records older than a day:
//! internal topics keep the records' timestamps, and topics that would not are refused.

#![allow(dead_code, unreachable_pub, reason = "a part of what the fault matrix has is used")]

#[path = "kafka_fault_matrix/broker.rs"]
mod broker;
mod support;

use std::time::{Duration, Instant};

use broker::Broker;
use headwater::Topology;
use headwater::config::TableStorage;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::NewTopic;
use tokio::sync::oneshot;

const DEFAULTS: &str = "log.message.timestamp.type=LogAppendTime
log.message.timestamp.before.max.ms=86400000";

/// 2001-09-09, long before any test run.
const LONG_AGO: i64 = 1_000_000_800_000;
const HOUR: i64 = 3_600_000;

const ANY: &str = "9223372036854775807";

fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let hours = Tumbling::of(Duration::from_secs(3600));
    app.stream(&Topic::<String, u64>::new(format!("{id}-in")))
        .group_by("by-key", |key, _| key.clone())
        .window(hours)
        .count(&Table::new("counts"))
        .updates()
        .map(|window, count| {
            (format!("{}@{}", window.key, (window.start - LONG_AGO) / HOUR), count)
        })
        .to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("valid")
}

fn of_any_time(client: &Client, name: &str) {
    let settings = [
        ("message.timestamp.type", "CreateTime"),
        ("message.timestamp.before.max.ms", ANY),
        ("message.timestamp.after.max.ms", ANY),
    ];
    client.create_topic_with(name, 1, &settings).expect("created");
}

/// Key, value, timestamp.
type Read = (String, u64, i64);

/// Feeds a record in each of these hours; returns the results once there are this many.
async fn counted(config: &Config, hours: &[i64], results: usize) -> Vec<Read> {
    let client = headwater::client(config).expect("a client");
    let input = Topic::<String, u64>::new("times-in");
    let mut writer = client.writer().expect("a writer");
    for hour in hours {
        let at = LONG_AGO + hour * HOUR;
        writer.deliver(&input, &"tea".to_owned(), &1, at).expect("fed");
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(App::new(topology("times"), config.clone()).run(async {
        let _ = stopped.await;
    }));
    let read = tokio::task::spawn_blocking(move || {
        let output = Topic::<String, u64>::new("times-out");
        let mut reader = client.reader(&output).expect("a reader");
        let mut read = Vec::new();
        let until = Instant::now() + Duration::from_secs(90);
        while read.len() < results && Instant::now() < until {
            if let Some(next) = reader.next(Duration::from_secs(1)).expect("reads") {
                read.push((next.record.key, next.record.value, next.record.timestamp));
            }
        }
        read
    });
    let read = read.await.expect("read");
    let _ = stop.send(());
    running.await.expect("no panic").expect("a graceful stop");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_broker_does_by_default() {
    if std::env::var_os("HEADWATER_KAFKA").is_none() {
        println!("skipped: HEADWATER_KAFKA names no broker, so there may be none here");
        return;
    }
    let broker = Broker::start_with(1, DEFAULTS);
    // Tables in memory are restored at each start.
    let config = Config { tables: Some(TableStorage::Memory), ..broker.config() };
    let client = headwater::client(&config).expect("a client");
    of_any_time(&client, "times-in");
    of_any_time(&client, "times-out");
    let at = |hour: i64, count| (format!("tea@{hour}"), count, LONG_AGO + hour * HOUR);
    let mut expected = vec![at(0, 1), at(0, 2), at(1, 1)];
    assert_eq!(counted(&config, &[0, 0, 1], 3).await, expected);
    let names = ["times-counts-changelog", "times-by-key-repartition", "times-topology"];
    let mut admin = client.admin().expect("admin");
    let found = admin.describe(&names.map(Into::into), Duration::from_secs(10)).expect("described");
    for info in found.into_iter().map(|info| info.expect("there")) {
        assert_eq!(format!("{:?}", info.timestamp_type), "CreateTime", "{}", info.name);
        let bounds = (info.timestamp_before_max_ms, info.timestamp_after_max_ms);
        assert_eq!(bounds, (i64::MAX, i64::MAX), "{}", info.name);
    }
    // What is restored has the times that it had.
    expected.push(at(1, 2));
    assert_eq!(counted(&config, &[1], 4).await, expected);
    refuses_the_brokers_times(&config, &client).await;
}

async fn refuses_the_brokers_times(config: &Config, client: &Client) {
    of_any_time(client, "late-in");
    of_any_time(client, "late-out");
    let config_of = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    let name = "late-counts-changelog".into();
    let topic = NewTopic { name, partitions: 1, replication: None, config: config_of };
    let mut admin = client.admin().expect("admin");
    admin.create(&topic, Duration::from_secs(10)).expect("created");
    let ended = App::new(topology("late"), config.clone()).run(std::future::pending()).await;
    let error = ended.expect_err("refused");
    assert!(matches!(error, AppError::InternalTopicSetting { .. }), "{error}");
    let error = error.to_string();
    for part in [
        "late-counts-changelog",
        "message.timestamp.type=LogAppendTime",
        "--add-config message.timestamp.type=CreateTime",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
