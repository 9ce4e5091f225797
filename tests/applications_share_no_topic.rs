//! Two applications whose ids and names give the same internal topic: the second is refused, with
//! both names, and the first continues, also after a kill between creating the topic and recording
//! it.

mod support;

use std::time::Duration;

use headwater::Topology;
use headwater::errors::AppError;
use headwater::prelude::*;

/// Counts by key in a table, after a repartition topic if it has a name.
fn counting(id: &str, table: &str, by: Option<&str>, input: &str) -> Topology {
    let app = Builder::new(id);
    let stream = app.stream(&Topic::<String, u64>::new(input));
    match by {
        Some(by) => {
            let grouped = stream.group_by(by, |key: &String, _| key.clone());
            grouped.count(&Table::new(table));
        }
        None => drop(stream.group_by_key().count(&Table::new(table))),
    }
    app.build().expect("valid")
}

async fn starts(topology: Topology, config: &Config) -> Result<(), AppError> {
    let app = App::new(topology, config.clone());
    let status = app.status();
    let started = async move {
        while !status.is_running() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), app.run(started)).await.expect("ends")
}

async fn share_nothing(config: Config, client: Client, id: &str) {
    let input = format!("{id}-in");
    client.create_topic(&input, 2).expect("created");
    let first = id.to_owned();
    let second = format!("{id}-b");
    // An application with this id was killed after it created its topic and before it recorded it.
    let changelog = format!("{id}-b-c-changelog");
    client.create_topic_with(&changelog, 2, &support::CHANGELOG).expect("created");
    starts(counting(&first, "b-c", None, &input), &config).await.expect("its own topic");
    starts(counting(&first, "b-c", None, &input), &config).await.expect("its own topic");

    let error = starts(counting(&second, "c", None, &input), &config).await.expect_err("refused");
    assert!(matches!(error, AppError::TopicOfAnother { .. }), "{error}");
    let text = error.to_string();
    let parts = [
        format!("{changelog} of {second} belongs to the application {first}"),
        "for the table b-c".to_owned(),
    ];
    for part in parts {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(client.partitions(&format!("{second}-topology")).is_err(), "it recorded something");

    // Other names are fine, and the first is not affected.
    starts(counting(&second, "d", None, &input), &config).await.expect("topics of its own");
    starts(counting(&first, "b-c", None, &input), &config).await.expect("its own topic");
    // The other way round: the longer id is first.
    let error = starts(counting(&first, "b-d", None, &input), &config).await.expect_err("refused");
    assert!(error.to_string().contains(&format!("the application {second}")), "{error}");

    // Repartition topics are topics too.
    let first = format!("{id}-r");
    let second = format!("{id}-r-b");
    starts(counting(&first, "x", Some("b-c"), &input), &config).await.expect("its own topic");
    let shared = counting(&second, "y", Some("c"), &input);
    let error = starts(shared, &config).await.expect_err("refused").to_string();
    let part = format!("{id}-r-b-c-repartition of {second} belongs to the application {first}");
    assert!(error.contains(&part), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log() {
    let (config, client) = support::embedded();
    share_nothing(config, client, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka() {
    let Some((config, client)) = support::kafka() else { return };
    let state = tempfile::tempdir().expect("a directory");
    let config = Config { state_dir: Some(state.path().to_owned()), ..config };
    share_nothing(config, client, &support::unique("a")).await;
}
