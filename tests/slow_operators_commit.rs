//! However long a record takes, a commit happens in time: no transaction expires, even if the
//! backlog of all partitions takes longer than a transaction may.

mod support;

use std::time::{Duration, Instant};

use headwater::prelude::*;
use support::Instances;

/// The records have timestamps in 1970, and a log deletes by timestamp.
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];

const PARTITIONS: i32 = 8;
const TOTAL: u64 = 480;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_takes_many_transactions() {
    let (mut config, client) = support::embedded();
    config.transaction_timeout = Duration::from_millis(600);
    client.create_topic_with("slow-in", PARTITIONS, FOREVER).expect("created");
    client.create_topic_with("slow-out", PARTITIONS, FOREVER).expect("created");
    let input = Topic::<u64, u64>::new("slow-in");
    let output = Topic::<u64, u64>::new("slow-out");
    let mut writer = client.writer().expect("a writer");
    for n in 0..TOTAL {
        writer.send(&input, &n, &n, n as i64).expect("sent");
    }
    writer.flush().expect("fed");
    let topology = move || {
        let app = Builder::new("slow");
        // All records take 2 s, those of one partition a quarter.
        let slow = |n: u64| {
            std::thread::sleep(Duration::from_millis(4));
            n
        };
        app.stream(&input).map_values(slow).to(&output);
        app.build().expect("valid")
    };
    let mut instances = Instances::new(topology, config);
    instances.start();
    let output = Topic::<u64, u64>::new("slow-out");
    let mut outputs = client.reader(&output).expect("a reader");
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while seen.len() < TOTAL as usize && Instant::now() < deadline {
        let next = outputs.next(Duration::from_millis(100)).expect("reads");
        seen.extend(next.map(|read| read.record.value));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..TOTAL).collect::<Vec<_>>(), "{:?}", instances.status()[0].commits);
    let commits = instances.status()[0].commits;
    assert_eq!(commits.rewinds, 0, "{commits:?}");
    assert!(commits.commits >= 5, "{commits:?}");
    instances.stop_all().await;
}
