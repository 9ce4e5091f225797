//! However many partitions an instance reads, the records queued in its tasks take no more memory
//! than their part of the budget and one fetch, not that much per partition.

mod support;

use std::time::{Duration, Instant};

use headwater::config::ByteSize;
use headwater::prelude::*;
use support::Instances;

/// The records have timestamps in 1970, and a log deletes by timestamp.
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];

const PARTITIONS: i32 = 1_000;
const RECORDS: u64 = 12_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_partitions_with_a_backlog() {
    let (mut config, client) = support::embedded();
    config.memory = ByteSize::mib(64);
    config.worker_threads = 1;
    // The bytes that may wait in the tasks, and the bytes of one fetch.
    let queued = config.memory.bytes() / 16;
    let fetched = config.fetch_bytes();
    client.create_topic_with("wide", PARTITIONS, FOREVER).expect("created");
    client.create_topic("nothing", 1).expect("created");
    let wide = Topic::<u64, String>::new("wide");
    let mut writer = client.writer().expect("a writer");
    let text = "x".repeat(8 << 10);
    for n in 0..RECORDS {
        writer.send(&wide, &n, &text, n as i64).expect("sent");
    }
    writer.flush().expect("fed");
    let topology = move || {
        let app = Builder::new("wide");
        let slowly = |_: &u64, _: &String| std::thread::sleep(Duration::from_micros(300));
        app.stream(&wide).peek(slowly).filter(|_, _| false).to(&Topic::new("nothing"));
        app.build().expect("valid")
    };
    let mut instances = Instances::new(topology, config);
    instances.start();
    let mut largest = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    let processed = |instances: &Instances| {
        instances.status()[0].tasks.values().map(|task| task.processed).sum::<u64>()
    };
    while processed(&instances) < RECORDS {
        assert!(Instant::now() < deadline, "{} of {RECORDS} records", processed(&instances));
        largest = largest.max(instances.status()[0].memory.fetched);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(largest > queued / 8, "{largest} bytes waited: nothing was tried");
    let most = queued + 2 * fetched;
    assert!(largest <= most, "{largest} bytes waited, of {most}");
    instances.stop_all().await;
}
