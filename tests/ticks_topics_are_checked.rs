//! The topic of ticks is created with one partition, is checked like other topics, belongs to one
//! application, and an upgrade without it is refused.

mod support;

use std::time::Duration;

use headwater::Topology;
use headwater::config::TopologyChanges;
use headwater::errors::AppError;
use headwater::prelude::*;
use support::{embedded, soon, unique};

fn beats(id: &str) -> Topic<String, Tick> {
    Topic::json(format!("{id}-beats"))
}

fn ticking(id: &str) -> Topology {
    let app = Builder::new(id);
    app.every("heart", Duration::from_millis(20)).to(&beats(id));
    app.build().expect("valid")
}

fn without_ticks(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = app.stream(&Topic::<String, u64>::new(format!("{id}-in")));
    input.group_by_key().count(&Table::new("counts"));
    app.build().expect("valid")
}

async fn refusal(topology: Topology, config: &Config) -> AppError {
    let run = App::new(topology, config.clone()).run(std::future::pending());
    let ended = tokio::time::timeout(Duration::from_secs(30), run).await;
    ended.expect("refused at once").expect_err("refused")
}

/// Runs it until there is some output.
async fn run(topology: Topology, config: &Config, client: &Client, id: &str) {
    let app = App::new(topology, config.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    let mut reader = client.reader(&beats(id)).expect("a reader");
    soon("a tick", Duration::from_secs(30), || {
        reader.next(Duration::ZERO).expect("reads").is_some()
    })
    .await;
    let _ = stop.send(());
    running.await.expect("no panic").expect("a graceful stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_more_partitions_is_refused() {
    let (config, client) = embedded();
    let id = unique("wide");
    client.create_topic(beats(&id).name(), 1).expect("created");
    client.create_topic(&format!("{id}-heart-ticks"), 2).expect("created");
    let error = refusal(ticking(&id), &config).await.to_string();
    assert!(error.contains(&format!("{id}-heart-ticks")), "{error}");
    assert!(error.contains("number of partitions: 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_without_the_ticks_is_refused() {
    let (mut config, client) = embedded();
    let id = unique("left-out");
    client.create_topic(beats(&id).name(), 1).expect("created");
    client.create_topic(&format!("{id}-in"), 1).expect("created");
    run(ticking(&id), &config, &client, &id).await;
    let error = refusal(without_ticks(&id), &config).await.to_string();
    assert!(error.contains(&format!("- ticks by {id}-heart-ticks")), "{error}");
    config.topology_changes = TopologyChanges::Accept;
    run(ticking(&id), &config, &client, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_application_with_the_same_topic_is_refused() {
    let (config, client) = embedded();
    let id = unique("shared");
    client.create_topic(beats(&id).name(), 1).expect("created");
    run(ticking(&id), &config, &client, &id).await;
    let (first, second) = id.rsplit_once('-').expect("a dash");
    let app = Builder::new(first);
    app.every(&format!("{second}-heart"), Duration::from_secs(1)).to(&beats(&id));
    let error = refusal(app.build().expect("valid"), &config).await;
    assert!(matches!(error, AppError::TopicOfAnother { .. }), "{error}");
}
