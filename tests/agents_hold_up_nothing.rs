//! An agent may spend minutes on a record: commits, other tasks and a stop do not wait for it, and
//! unacknowledged records come again.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater::agents::{AgentResult, Context, Records};
use headwater::agents::{Async, Call};
use headwater::config::TableStorage;
use headwater::prelude::*;
use headwater::{App, Topology};
use tokio::sync::oneshot;

fn slow() -> Topic<String, u64> {
    Topic::new("slow")
}

fn quick() -> Topic<String, u64> {
    Topic::new("quick")
}

fn counted() -> Topic<String, u64> {
    Topic::new("counted")
}

fn handled() -> Topic<String, u64> {
    Topic::new("handled")
}

/// For every record, sends and then waits for a minute.
async fn a_minute_each(mut records: Records<String, u64>, cx: Context) -> AgentResult {
    while let Some(record) = records.next().await {
        cx.send(&handled(), record.key, record.value)?;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    Ok(())
}

/// A count, with or without agents beside it, on another topic and on the same one.
fn topology(with_agents: bool) -> Topology {
    let app = Builder::new("beside");
    app.stream(&quick()).group_by_key().count(&Table::new("counts")).to(&counted());
    if with_agents {
        app.agent("elsewhere", &slow()).sends(&handled()).run(a_minute_each);
        app.agent("here", &quick()).sends(&handled()).run(a_minute_each);
    }
    app.build().expect("valid")
}

/// Feeds one record at a time and waits for its count. Returns the second longest of a hundred
/// latencies.
async fn p99(with_agents: bool) -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config {
        broker: format!("embedded:{}", directory.path().join("log").display()),
        state_dir: Some(directory.path().join("state")),
        commit_interval: Some(Duration::from_millis(20)),
        tables: Some(TableStorage::Memory),
        ..Config::default()
    };
    let client = headwater::client(&config).expect("a log");
    for topic in ["slow", "quick", "counted", "handled"] {
        client.create_topic(topic, 2).expect("created");
    }
    let app = App::new(topology(with_agents), config);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async { drop(stopped.await) }));
    let mut writer = client.writer().expect("a writer");
    (0..4).for_each(|n| writer.send(&slow(), &format!("s{n}"), &n, 1).expect("fed"));
    writer.flush().expect("fed");
    let mut reader = client.reader(&counted()).expect("a reader");
    let mut took = Vec::new();
    for value in 0..110 {
        let began = Instant::now();
        writer.deliver(&quick(), &format!("k{}", value % 7), &value, 1).expect("fed");
        let read = reader.next(Duration::from_secs(20)).expect("reads");
        if read.is_none() {
            panic!("record {value} is not counted: {:?}", running.await);
        }
        took.push(began.elapsed());
    }
    let _ = stop.send(());
    let stopping = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
    ended.expect("it stops").expect("no panic").expect("without an error");
    assert!(stopping.elapsed() < Duration::from_secs(5), "a stop waits for no agent");
    let mut outputs = client.reader(&handled()).expect("a reader");
    let sent = outputs.next(Duration::from_millis(200)).expect("reads");
    assert!(sent.is_none(), "nothing unacknowledged is visible: {sent:?}");
    // The first ones wait for the start.
    took.drain(..10);
    took.sort();
    took[98]
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_take_a_minute_do_not_slow_a_count() {
    let without = p99(false).await;
    let with = p99(true).await;
    assert!(with < without * 3 + Duration::from_millis(100), "{with:?}, without {without:?}");
}

/// A record being processed at a stop comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_progress_at_a_stop_comes_again() {
    let (config, client) = support::embedded();
    for topic in ["again-in", "again-out"] {
        client.create_topic(topic, 1).expect("created");
    }
    let input = Topic::<u64, u64>::new("again-in");
    let output = Topic::<u64, u64>::new("again-out");
    let begun = Arc::new(AtomicU64::new(0));
    let topology = || {
        let app = Builder::new("again");
        let sends = output.clone();
        let begun = Arc::clone(&begun);
        app.agent("again", &input).sends(&output).run(move |mut records: Records<u64, u64>, cx| {
            let sends = sends.clone();
            let begun = Arc::clone(&begun);
            async move {
                while let Some(record) = records.next().await {
                    cx.send(&sends, record.key, record.value)?;
                    // The first run gets no further.
                    if begun.fetch_add(1, Ordering::Relaxed) == 0 {
                        std::future::pending::<()>().await;
                    }
                }
                Ok(())
            }
        });
        app.build().expect("valid")
    };
    let mut writer = client.writer().expect("a writer");
    (0..3).for_each(|n| writer.send(&input, &n, &n, 1).expect("fed"));
    writer.flush().expect("fed");
    for life in 0..2 {
        let (stop, stopped) = oneshot::channel::<()>();
        let app = App::new(topology(), config.clone());
        let running = tokio::spawn(app.run(async { drop(stopped.await) }));
        let enough = if life == 0 { 1 } else { 4 };
        while begun.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = stop.send(());
        running.await.expect("no panic").expect("stops");
    }
    let mut reader = client.reader(&output).expect("a reader");
    let mut read = Vec::new();
    while let Some(one) = reader.next(Duration::from_millis(300)).expect("reads") {
        read.push(one.record.value);
    }
    assert_eq!(read, [0, 1, 2]);
}

/// 64 calls of 20 ms in flight on one partition, exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_process_thousands_of_records_a_second_in_order() {
    let (config, client) = support::embedded();
    for topic in ["calls-in", "calls-out"] {
        client.create_topic(topic, 1).expect("created");
    }
    let input = Topic::<u64, u64>::new("calls-in");
    let output = Topic::<u64, u64>::new("calls-out");
    let app = Builder::new("calls");
    app.stream(&input)
        .map_async("wait", Async::in_flight(64), |call: Call<u64, u64>| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, String>(call.record.value)
        })
        .to(&output);
    let mut writer = client.writer().expect("a writer");
    let total = 10_000;
    (0..total).for_each(|n| writer.send(&input, &n, &n, 1).expect("fed"));
    writer.flush().expect("fed");
    let (stop, stopped) = oneshot::channel::<()>();
    let app = App::new(app.build().expect("valid"), config);
    let running = tokio::spawn(app.run(async { drop(stopped.await) }));
    let mut reader = client.reader(&output).expect("a reader");
    let mut expected = 0;
    let mut began = Instant::now();
    while expected < total {
        let read = reader.next(Duration::from_secs(20)).expect("reads").expect("goes on");
        assert_eq!(read.record.value, expected);
        if expected == 0 {
            began = Instant::now();
        }
        expected += 1;
    }
    let rate = total as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} records/s");
    let _ = stop.send(());
    running.await.expect("no panic").expect("stops");
    // An idle machine does 2,500 and more; this one may be busy with other tests.
    assert!(rate > 800.0, "{rate:.0} records/s");
}

/// Records that an agent sends on a timer are committed, even if its topic never gets a record.
#[tokio::test(flavor = "multi_thread")]
async fn timers_run_and_their_sends_are_committed_on_a_quiet_topic() {
    let (config, client) = support::embedded();
    for topic in ["quiet-in", "quiet-out"] {
        client.create_topic(topic, 1).expect("created");
    }
    let input = Topic::<u64, u64>::new("quiet-in");
    let output = Topic::<u64, u64>::new("quiet-out");
    let app = Builder::new("quiet");
    let sends = output.clone();
    app.agent("ticks", &input).sends(&output).run(move |mut records: Records<u64, u64>, cx| {
        let sends = sends.clone();
        async move {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tokio::select! {
                    _ = tick.tick() => cx.send_at(&sends, Record::new(0, 0, 1))?,
                    _ = records.next() => {}
                }
            }
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let app = App::new(app.build().expect("valid"), config);
    let running = tokio::spawn(app.run(async { drop(stopped.await) }));
    let mut reader = client.reader(&output).expect("a reader");
    for tick in 0..5 {
        let read = reader.next(Duration::from_secs(20)).expect("reads");
        assert!(read.is_some(), "tick {tick}");
    }
    let _ = stop.send(());
    running.await.expect("no panic").expect("stops");
}
