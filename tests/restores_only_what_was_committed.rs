//! A table is restored from committed changelog records only, without those of aborted
//! transactions.

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater::prelude::*;
use headwater::spi::transport::{Outgoing, ProducerConfig};
use support::{Instances, embedded};

const WAIT: Duration = Duration::from_secs(5);

fn topology() -> headwater::Topology {
    let app = Builder::new("uncommitted");
    app.stream(&Topic::<String, u64>::new("uncommitted-in"))
        .group_by_key()
        .count(&Table::new("counts"))
        .to(&Topic::<String, u64>::new("uncommitted-out"));
    app.build().expect("valid")
}

/// A count that was sent to the changelog in a transaction that was then aborted.
fn aborted_count(config: &Config, key: &str, count: u64) {
    let transport = headwater::connect(config).expect("a log");
    let config = ProducerConfig {
        transactional_id: Some("somebody".into()),
        transaction_timeout: WAIT,
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = transport.producer(&config).expect("a producer");
    producer.init(WAIT).expect("initialised");
    producer.begin().expect("begun");
    let topic: Arc<str> = "uncommitted-counts-changelog".into();
    let value = count.to_be_bytes();
    let record = Outgoing {
        topic: &topic,
        partition: Some(0),
        key: Some(key.as_bytes()),
        value: Some(&value),
        timestamp: 1,
        headers: None,
    };
    producer.send(&record).expect("sent");
    producer.flush(WAIT).expect("flushed");
    producer.abort(WAIT).expect("aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_changelog_records_are_not() {
    let (config, client) = embedded();
    client.create_topic("uncommitted-in", 1).expect("created");
    client.create_topic("uncommitted-out", 1).expect("created");
    let input = Topic::<String, u64>::new("uncommitted-in");
    let output = Topic::<String, u64>::new("uncommitted-out");
    let mut reader = client.reader(&output).expect("a reader");
    let mut writer = client.writer().expect("a writer");
    let mut instances = Instances::new(topology, config.clone());

    for (expected, count_in_between) in [(1, 500), (2, 600), (3, 700)] {
        writer.send(&input, &"k".to_owned(), &0, expected).expect("sent");
        writer.flush().expect("flushed");
        instances.start();
        let read = reader.next(Duration::from_secs(20)).expect("reads").expect("counted");
        assert_eq!(read.record.value, expected as u64);
        instances.stop_all().await;
        aborted_count(&config, "k", count_in_between);
    }
}
