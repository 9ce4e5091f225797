//! Nothing starts on topics that are missing or wrong; the error names them, with the actual and
//! the required value.

mod support;

use std::time::Duration;

use headwater::Topology;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::{ErrorKind, NewTopic};
use support::embedded;
use support::lab::{Lab, config};

fn counting(id: &str) -> Topology {
    let app = Builder::new(id);
    app.stream(&Topic::<String, u64>::new(format!("{id}-in")))
        .group_by("by-value", |_, value| value.to_string())
        .count(&Table::new("counts"))
        .to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("valid")
}

/// Two topics that are consumed together.
fn merging(id: &str) -> Topology {
    let app = Builder::new(id);
    let left = app.stream(&Topic::<String, u64>::new(format!("{id}-left")));
    let right = app.stream(&Topic::<String, u64>::new(format!("{id}-right")));
    left.merge(right)
        .group_by_key()
        .count(&Table::new("counts"))
        .to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("valid")
}

async fn error_of(topology: Topology) -> AppError {
    let run = App::new(topology, config()).run(std::future::pending());
    let ended = tokio::time::timeout(Duration::from_secs(10), run).await;
    ended.expect("refused at once").expect_err("refused")
}

fn internal(client: &Client, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let config = settings.iter().map(owned).collect();
    let topic = NewTopic { name: name.into(), partitions, replication: None, config };
    let mut admin = client.admin().expect("admin");
    admin.create(&topic, Duration::from_secs(1)).expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_does_not_exist() {
    let error = error_of(counting("no-source")).await.to_string();
    assert!(error.contains("no-source-in does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_does_not_exist() {
    let (_, client) = embedded();
    client.create_topic("no-sink-in", 2).expect("created");
    let error = error_of(counting("no-sink")).await.to_string();
    assert!(error.contains("no-sink-out does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_do_not_fit_together_are_refused_before_anything_is_created() {
    let (_, client) = embedded();
    for (topic, partitions) in [("left", 2), ("right", 3), ("out", 1)] {
        client.create_topic(&format!("uneven-{topic}"), partitions).expect("created");
    }
    let error = error_of(merging("uneven")).await;
    assert!(matches!(error, AppError::NotCoPartitioned { .. }), "{error}");
    let error = error.to_string();
    for part in ["uneven-left has 2", "uneven-right has 3"] {
        assert!(error.contains(part), "{error}");
    }
    // A changelog with the wrong number of partitions would be in the way once the topics are
    // right.
    assert!(client.partitions("uneven-counts-changelog").is_err(), "created anyway");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_with_too_few_partitions() {
    let (_, client) = embedded();
    client.create_topic("few-in", 3).expect("created");
    client.create_topic("few-out", 3).expect("created");
    let settings = [("cleanup.policy", "compact")];
    internal(&client, "few-counts-changelog", 2, &settings);
    let error = error_of(counting("few")).await.to_string();
    for part in ["few-counts-changelog", "2", "must have 3"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_with_retention() {
    let (_, client) = embedded();
    client.create_topic("forgets-in", 1).expect("created");
    client.create_topic("forgets-out", 1).expect("created");
    internal(&client, "forgets-counts-changelog", 1, &[("cleanup.policy", "delete")]);
    let error = error_of(counting("forgets")).await.to_string();
    for part in ["forgets-counts-changelog", "delete", "must have compact"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repartition_topic_that_loses_records() {
    let (_, client) = embedded();
    client.create_topic("loses-in", 1).expect("created");
    client.create_topic("loses-out", 1).expect("created");
    let settings = [("cleanup.policy", "delete"), ("retention.ms", "1000")];
    internal(&client, "loses-by-value-repartition", 1, &settings);
    let error = error_of(counting("loses")).await.to_string();
    for part in ["loses-by-value-repartition", "1000", "must have -1"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_that_refuses_old_timestamps() {
    let (_, client) = embedded();
    client.create_topic("recent-in", 1).expect("created");
    client.create_topic("recent-out", 1).expect("created");
    let settings = [("cleanup.policy", "compact"), ("message.timestamp.before.max.ms", "5")];
    internal(&client, "recent-counts-changelog", 1, &settings);
    let error = error_of(counting("recent")).await.to_string();
    for part in [
        "recent-counts-changelog has message.timestamp.before.max.ms=5",
        "--entity-name recent-counts-changelog",
        "--add-config message.timestamp.before.max.ms=9223372036854775807",
        "message.timestamp.difference.max.ms",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// Topics created for the application have the required settings, and its next start accepts them.
#[tokio::test(flavor = "multi_thread")]
async fn internal_topics_are_created_with_the_required_settings() {
    let mut lab = Lab::new("policies", 3);
    for _ in 0..2 {
        let instance = lab.start("one");
        lab.feed(50, Duration::from_millis(50)).await;
        lab.check(&[&instance]).await;
        instance.stop().await.expect("a graceful stop");
    }
    let names = ["policies-counts-changelog", "policies-by-bucket-repartition"];
    let mut admin = lab.client.admin().expect("admin");
    let found = admin.describe(&names.map(Into::into), Duration::from_secs(1)).expect("found");
    let found: Vec<_> = found.into_iter().map(|info| info.expect("there")).collect();
    assert_eq!((found[0].partitions, found[0].cleanup_policy.as_str()), (3, "compact"));
    assert_eq!((found[1].partitions, found[1].cleanup_policy.as_str()), (3, "delete"));
    assert_eq!(found[1].retention_ms, -1);
    for topic in found {
        let bounds = (topic.timestamp_before_max_ms, topic.timestamp_after_max_ms);
        assert_eq!(bounds, (i64::MAX, i64::MAX));
    }
}

/// Two instances that start at once both want to create the topics.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_another_instance_just_created() {
    let mut lab = Lab::new("both-create", 2);
    let instances: Vec<_> = ["one", "two", "three"].map(|name| lab.start(name)).into();
    lab.feed(100, Duration::from_millis(100)).await;
    lab.check(&instances.iter().collect::<Vec<_>>()).await;
    for instance in instances {
        instance.stop().await.expect("a graceful stop");
    }
    let created = lab.client.create_topic("both-create-in", 2).expect("no error");
    assert!(!created, "{:?}", ErrorKind::Exists);
}
