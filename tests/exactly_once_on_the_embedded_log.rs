//! Counts stay exact while instances join, leave and are stopped, on the embedded log.

mod support;

use headwater::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Instances, embedded};

/// The records have timestamps in 1970, and a log deletes by timestamp.
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];

fn topology(id: &str) -> headwater::Topology {
    let app = Builder::new(id);
    let input = Topic::<String, u64>::new(format!("{id}-in"));
    app.stream(&input)
        .group_by("by-parity", |_, value| format!("bucket-{}", value % 7))
        .count(&Table::new("counts"))
        .to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_stay_exact_while_instances_join_and_leave() {
    let id = "joins-and-leaves";
    let (config, client) = embedded();
    client.create_topic_with(&format!("{id}-in"), 6, FOREVER).expect("created");
    client.create_topic_with(&format!("{id}-out"), 3, FOREVER).expect("created");
    let mut instances = Instances::new(move || topology(id), config);
    instances.start();

    let input = Topic::<String, u64>::new(format!("{id}-in"));
    let mut writer = client.writer().expect("writer");
    let total = 20_000_u64;
    for value in 0..total {
        writer.send(&input, &format!("key-{value}"), &value, 1 + value as i64).expect("sent");
        match value {
            4_000 | 8_000 => instances.start(),
            12_000 => instances.stop_first().await,
            16_000 => instances.start(),
            _ => {}
        }
        if value % 500 == 0 {
            writer.flush().expect("flushed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    writer.flush().expect("flushed");

    let output = Topic::<String, u64>::new(format!("{id}-out"));
    let mut reader = client.reader(&output).expect("reader");
    let mut last = BTreeMap::new();
    let mut outputs = 0_u64;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while last.values().sum::<u64>() < total && std::time::Instant::now() < deadline {
        if let Some(read) = reader.next(Duration::from_millis(200)).expect("reads") {
            outputs += 1;
            let before = last.insert(read.record.key.clone(), read.record.value);
            assert_eq!(before.unwrap_or(0) + 1, read.record.value, "{}", read.record.key);
        }
    }
    assert_eq!(last.values().sum::<u64>(), total, "{:?}", instances.status());
    assert_eq!(outputs, total);
    instances.stop_all().await;
}
