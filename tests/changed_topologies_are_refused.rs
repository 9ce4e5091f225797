//! An upgrade whose topology has no place for state that the application has is refused, with the
//! difference, before anything is touched; one that only adds to it goes on.

mod support;

use std::time::{Duration, Instant};

use headwater::prelude::*;
use headwater::{AppError, Topology, TopologyChanges};

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
        let (mut seen, until) = (0, Instant::now() + Duration::from_secs(30));
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

    // The old version goes on as if nothing had been.
    runs(version(id, "counts", None), &config, &client, id, 3).await;
    // What only adds is accepted, and is what must be kept from then on.
    runs(version(id, "counts", Some("numbers")), &config, &client, id, 5).await;
    let error = refusal(version(id, "counts", None), &config).await;
    assert!(error.to_string().contains("- table numbers of keys"), "{error}");
    let accepting = Config { topology_changes: TopologyChanges::Accept, ..config };
    runs(version(id, "numbers", None), &accepting, &client, id, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log() {
    let (config, client) = support::embedded();
    upgrades(config, client, "upgrades").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka() {
    let Some((config, client)) = support::kafka() else { return };
    let state = tempfile::tempdir().expect("a directory");
    let config = Config { state_dir: Some(state.path().to_owned()), ..config };
    upgrades(config, client, &support::unique("upgrades")).await;
}
