//! An upgrade whose topology lacks state of the application, or would interpret it differently, is
//! refused with the difference, before anything is changed. One that only adds state is accepted.

mod support;

use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::config::TopologyChanges;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::windows::Windows;

/// Counts in a table of this name; with `also`, in another one too.
fn version(id: &str, table: &str, also: Option<&str>) -> Topology {
    let app = Builder::new(id);
    let input = app.stream(&Topic::<String, u64>::new(format!("{id}-in"))).shared();
    let counted = |name: &str| {
        let by = format!("by-{name}");
        input
            .clone()
            .group_by(&by, |_, value| value.to_string())
            .count(&Table::new(name))
            .to(&Topic::<String, u64>::new(format!("{id}-out")));
    };
    counted(table);
    also.into_iter().for_each(counted);
    app.build().expect("valid")
}

/// Feeds a record and runs the application until that many counts came out.
async fn runs(topology: Topology, config: &Config, client: &Client, id: &str, counts: usize) {
    let mut writer = client.writer().expect("a writer");
    writer
        .send(&Topic::<String, u64>::new(format!("{id}-in")), &"key".into(), &7, 1)
        .expect("sent");
    writer.flush().expect("flushed");
    let app = App::new(topology, config.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    let client = client.clone();
    let output = Topic::<String, u64>::new(format!("{id}-out"));
    let seen = tokio::task::spawn_blocking(move || {
        let mut reader = client.reader(&output).expect("a reader");
        let mut seen = 0;
        let until = Instant::now() + Duration::from_secs(30);
        while seen < counts && Instant::now() < until {
            seen += usize::from(reader.next(Duration::from_millis(100)).expect("reads").is_some());
        }
        seen
    });
    assert_eq!(seen.await.expect("read"), counts);
    let _ = stop.send(());
    running.await.expect("no panic").expect("a graceful stop");
}

async fn refusal(topology: Topology, config: &Config) -> AppError {
    let run = App::new(topology, config.clone()).run(std::future::pending());
    let ended = tokio::time::timeout(Duration::from_secs(30), run).await;
    ended.expect("refused at once").expect_err("refused")
}

async fn upgrades(config: Config, client: Client, id: &str) {
    for topic in ["in", "out"] {
        client
            .create_topic_with(&format!("{id}-{topic}"), 2, &[("retention.ms", "-1")])
            .expect("created");
    }
    runs(version(id, "counts", None), &config, &client, id, 1).await;
    runs(version(id, "counts", None), &config, &client, id, 2).await;

    let renamed = version(id, "numbers", None);
    let error = refusal(renamed, &config).await;
    assert!(matches!(error, AppError::TopologyChanged { .. }), "{error}");
    let text = error.to_string();
    for line in [
        format!("- re-keys by {id}-by-counts-repartition"),
        format!("- table counts of keys, from {id}-by-counts-repartition"),
        format!("+ table numbers of keys, from {id}-by-numbers-repartition"),
    ] {
        assert!(text.contains(&line), "{line} is missing: {text}");
    }
    let created = client.partitions(&format!("{id}-numbers-changelog"));
    assert!(created.is_err(), "a topic of the refused topology was created");

    // The old version continues as before.
    runs(version(id, "counts", None), &config, &client, id, 3).await;
    // A version that only adds is accepted, and must be kept from then on.
    runs(version(id, "counts", Some("numbers")), &config, &client, id, 5).await;
    let error = refusal(version(id, "counts", None), &config).await;
    assert!(error.to_string().contains("- table numbers of keys"), "{error}");
    let accepting = Config { topology_changes: TopologyChanges::Accept, ..config };
    runs(version(id, "numbers", None), &accepting, &client, id, 6).await;
}

/// Counts in windows, each of which comes out whenever it changes.
fn windowed(id: &str, windows: impl Windows + Clone) -> Topology {
    let app = Builder::new(id);
    let input = app.stream(&Topic::<String, u64>::new(format!("{id}-in"))).group_by_key();
    let counted = input.window(windows).count(&Table::new("windows")).into_table().to_stream();
    let counted = counted.map(|window, count| (window.key, count.unwrap_or_default()));
    counted.to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("valid")
}

fn summing(id: &str, table: &Table<String, u64>) -> Topology {
    let app = Builder::new(id);
    let input = app.stream(&Topic::<String, u64>::new(format!("{id}-in"))).group_by_key();
    let sums = input.reduce(table, |sum, number| sum + number);
    sums.to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("valid")
}

async fn other_codecs(config: Config, client: Client, id: &str) {
    for topic in ["in", "out"] {
        client
            .create_topic_with(&format!("{id}-{topic}"), 2, &[("retention.ms", "-1")])
            .expect("created");
    }
    runs(summing(id, &Table::new("sums")), &config, &client, id, 1).await;
    let error = refusal(summing(id, &Table::json("sums")), &config).await;
    assert!(matches!(error, AppError::TopologyChanged { .. }), "{error}");
    let text = error.to_string();
    for line in ["- table sums, values: u64", "+ table sums, values: JSON"] {
        assert!(text.contains(line), "{line} is missing: {text}");
    }
    runs(summing(id, &Table::new("sums")), &config, &client, id, 2).await;
}

/// The lines of the last topology that the application recorded.
fn noted(client: &Client, id: &str) -> String {
    let topic = Topic::<String, String>::new(format!("{id}-topology"));
    let mut reader = client.reader(&topic).expect("a reader");
    let mut last = None;
    while let Some(read) = reader.next(Duration::from_millis(500)).expect("reads") {
        last = Some(read.record.value);
    }
    last.expect("a note")
}

fn note(client: &Client, id: &str, lines: &str) {
    let topic = Topic::<String, String>::new(format!("{id}-topology"));
    let config = [("cleanup.policy", "compact")];
    client.create_topic_with(topic.name(), 1, &config).expect("created");
    let mut writer = client.writer().expect("a writer");
    writer.send(&topic, &"topology".into(), &lines.to_owned(), 1).expect("sent");
    writer.flush().expect("flushed");
}

async fn other_windows(config: Config, client: Client, id: &str) {
    for topic in ["in", "out"] {
        client
            .create_topic_with(&format!("{id}-{topic}"), 2, &[("retention.ms", "-1")])
            .expect("created");
    }
    let second = Duration::from_secs(1);
    let changelog = format!("{id}-windows-changelog");
    client.create_topic_with(&changelog, 2, &support::CHANGELOG).expect("created");
    // Recorded by a version that did not record windows: unknown, so it is accepted and recorded.
    note(&client, id, &format!("consumes {id}-in\ntable windows of windows, from {id}-in"));
    runs(windowed(id, Tumbling::of(second)), &config, &client, id, 1).await;
    let lines = noted(&client, id);
    for line in [
        "table windows, windows: tumbling of 1000 ms",
        "table windows, keys: UTF-8 text",
        "table windows, values: u64",
    ] {
        assert!(lines.contains(line), "{line} is missing: {lines}");
    }

    let accepting = Config { topology_changes: TopologyChanges::Accept, ..config.clone() };
    let kinds: [(Box<dyn Fn() -> Topology>, &str, &str); 4] = [
        (
            Box::new(|| windowed(id, Tumbling::of(2 * second))),
            "tumbling of 2000 ms",
            "windows (tumbling of 2000 ms)",
        ),
        (
            Box::new(|| windowed(id, Hopping::of(second, second / 2))),
            "hopping of 1000 ms, every 500 ms",
            "windows (hopping of 1000 ms)",
        ),
        (
            Box::new(|| windowed(id, Session::of(second))),
            "sessions, with gaps of 1000 ms",
            "keys and times",
        ),
        (Box::new(|| windowed(id, Sliding::of(second))), "sliding of 1000 ms", "keys and times"),
    ];
    for (topology, line, is) in kinds {
        let error = refusal(topology(), &config).await.to_string();
        let was = "- table windows, windows: tumbling of 1000 ms";
        assert!(error.contains(was), "{error}");
        assert!(error.contains(&format!("+ table windows, windows: {line}")), "{error}");
        let error = refusal(topology(), &accepting).await;
        assert!(matches!(error, AppError::TableMeansSomethingElse { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(&changelog), "{error}");
        assert!(error.contains("holds windows") && error.contains(is), "{error}");
    }
    // Grace and retention change no stored bytes.
    let longer = Tumbling::of(second).grace(second).retention(60 * second);
    runs(windowed(id, longer), &config, &client, id, 2).await;
}

/// A table without entries can become something else, if that is accepted, also by an application
/// that was killed after creating the changelog and before recording anything.
async fn empty_tables(config: Config, client: Client, id: &str) {
    for topic in ["in", "out"] {
        client.create_topic(&format!("{id}-{topic}"), 2).expect("created");
    }
    let changelog = format!("{id}-windows-changelog");
    client.create_topic_with(&changelog, 2, &support::CHANGELOG).expect("created");
    let old = format!("consumes {id}-in\ntable windows of keys and times, from {id}-in");
    note(&client, id, &old);
    let windows = || windowed(id, Tumbling::of(Duration::from_secs(1)));
    let error = refusal(windows(), &config).await;
    assert!(matches!(error, AppError::TopologyChanged { .. }), "{error}");
    let accepting = Config { topology_changes: TopologyChanges::Accept, ..config };
    runs(windows(), &accepting, &client, id, 1).await;
    assert!(noted(&client, id).contains("table windows of windows"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log() {
    let (config, client) = support::embedded();
    upgrades(config.clone(), client.clone(), "upgrades").await;
    other_windows(config.clone(), client.clone(), "windows").await;
    other_codecs(config.clone(), client.clone(), "codecs").await;
    empty_tables(config, client, "empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka() {
    let Some((config, client)) = support::kafka() else { return };
    let state = tempfile::tempdir().expect("a directory");
    let config = Config { state_dir: Some(state.path().to_owned()), ..config };
    upgrades(config.clone(), client.clone(), &support::unique("upgrades")).await;
    other_windows(config.clone(), client.clone(), &support::unique("windows")).await;
    other_codecs(config.clone(), client.clone(), &support::unique("codecs")).await;
    empty_tables(config, client, &support::unique("empty")).await;
}
