//! One record closes two million windows: in many short transactions, with uncommitted data within
//! its bound, and results coming out all the time.

mod support;

use std::time::{Duration, Instant};

use headwater::config::ByteSize;
use headwater::prelude::*;
use headwater::windows::Windowed;
use support::Instances;

/// The records have timestamps in 1970, and a log deletes by timestamp.
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];

/// Without optimization, a twentieth of that.
const WINDOWS: u64 = if cfg!(debug_assertions) { 100_000 } else { 2_000_000 };
const MEMORY_MIB: u64 = if cfg!(debug_assertions) { 16 } else { 256 };

#[tokio::test(flavor = "multi_thread")]
async fn two_million_windows_at_once() {
    let (mut config, client) = support::embedded();
    config.memory = ByteSize::mib(MEMORY_MIB);
    config.worker_threads = 1;
    let bound = config.overlay_bytes();
    client.create_topic_with("clicks", 1, FOREVER).expect("created");
    client.create_topic_with("closed", 1, FOREVER).expect("created");
    let input = Topic::<u64, u64>::new("clicks");
    let output = Topic::<u64, u64>::new("closed");
    let clicks = input.clone();
    let closed = output.clone();
    let topology = move || {
        let app = Builder::new("many");
        let minutes = Tumbling::of(Duration::from_secs(60));
        let counts = app.stream(&clicks).group_by_key().window(minutes);
        let counts = counts.count(&Table::new("counts"));
        counts.closed().map(|window: Windowed<u64>, count| (window.key, count)).to(&closed);
        app.build().expect("valid")
    };
    let mut writer = client.writer().expect("a writer");
    for user in 0..WINDOWS {
        writer.send(&input, &user, &1, (user % 60_000) as i64).expect("sent");
    }
    writer.flush().expect("fed");
    let mut instances = Instances::new(topology, config);
    instances.start();
    let processed = |instances: &Instances| {
        let tasks = &instances.status()[0].tasks;
        tasks.values().map(|task| task.processed).sum::<u64>()
    };
    support::soon("all are counted", Duration::from_secs(120), || processed(&instances) >= WINDOWS)
        .await;
    let before = instances.status()[0].commits;
    writer.send(&input, &WINDOWS, &1, 600_000).expect("sent");
    writer.flush().expect("fed");

    let mut results = client.reader(&output).expect("a reader");
    let mut seen = vec![false; WINDOWS as usize];
    let mut largest = 0;
    let mut count = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    while count < WINDOWS && Instant::now() < deadline {
        if count % 1_000 == 0 {
            largest = largest.max(instances.status()[0].memory.uncommitted);
        }
        let Some(read) = results.next(Duration::from_millis(50)).expect("reads") else { continue };
        let user = read.record.key as usize;
        assert!(!std::mem::replace(&mut seen[user], true), "the window of {user} came twice");
        count += 1;
    }
    let after = instances.status()[0].commits;
    assert_eq!(count, WINDOWS, "{after:?}");
    assert_eq!(after.rewinds, 0, "{after:?}");
    let commits = after.commits - before.commits;
    assert!(commits >= 5, "{commits} commits while they closed");
    assert!(largest <= bound + bound / 4, "{largest} bytes uncommitted of {bound}");
    instances.stop_all().await;
}
