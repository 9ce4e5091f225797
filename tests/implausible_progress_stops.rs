//! Impossible committed progress (a reader beyond the end of its partition, a stream time that no
//! record has) stops the application with an error that names the partition and the value.
//! Otherwise records would be skipped, or all be late, without notice.

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater::Topology;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::{MemberConfig, MemberEvent, OffsetCommit, Transport};
use support::lab::config;

const PATIENCE: Duration = Duration::from_secs(10);

fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = app.stream(&Topic::<String, u64>::new(format!("{id}-in")));
    let windows = input.group_by_key().window(Tumbling::of(Duration::from_secs(60)));
    let closed = windows.count(&Table::new("counts")).closed();
    closed.select_key(|window, _| window.key.clone()).to(&Topic::new(format!("{id}-out")));
    app.build().expect("valid")
}

/// Commits an offset of the application's input with metadata, as a member of its group.
fn commit(log: &Arc<dyn Transport>, id: &str, metadata: &str) {
    let topic: Arc<str> = format!("{id}-in").into();
    let mut member = log
        .member(&MemberConfig {
            group_id: id.into(),
            instance_id: None,
            topics: vec![topic],
            session_timeout: PATIENCE,
            heartbeat_interval: Duration::from_millis(100),
            read_committed: true,
            fetch_bytes_max: 1 << 20,
        })
        .expect("a member");
    let partition = loop {
        let mut events = member.poll(Duration::from_millis(20)).expect("polled").into_iter();
        if let Some(MemberEvent::Assigned(mut partitions)) = events.next() {
            member.assign(&partitions).expect("assigned");
            break partitions.pop().expect("the only one");
        }
    };
    let metadata = metadata.to_owned();
    let offsets = [OffsetCommit { partition: partition.clone(), offset: 1, metadata }];
    member.group().commit(&offsets, PATIENCE).expect("committed");
    member.unassign(&[partition]).expect("unassigned");
    member.leave(PATIENCE).expect("left");
}

/// The outcome of an application within `wait`.
async fn ended(id: &str, metadata: &str, wait: Duration) -> Result<(), AppError> {
    let log = headwater::connect(&config()).expect("a log");
    let client = Client::new(Arc::clone(&log));
    for topic in ["in", "out"] {
        client.create_topic(&format!("{id}-{topic}"), 1).expect("created");
    }
    let mut writer = client.writer().expect("a writer");
    for n in 0..5 {
        let topic = Topic::<String, u64>::new(format!("{id}-in"));
        writer.send(&topic, &"k".to_owned(), &n, n as i64 * 1000).expect("sent");
    }
    writer.flush().expect("written");
    commit(&log, id, metadata);
    let app = App::with_transport(topology(id), config(), log);
    app.run(tokio::time::sleep(wait)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_beyond_the_end_and_an_impossible_time() {
    let cases = [
        ("late", "hw1;t:counts:9223372036854775807", "stream time of counts is"),
        ("early", "hw1;t:counts:-1", "stream time of counts is"),
        ("far", "hw1;p::9223372036854775807", "the position is"),
        ("beyond", "hw1;p::6", "a reader is at 6, and the partition ends at 5"),
    ];
    for (id, metadata, words) in cases {
        // A broker that was replaced may know an older end: it is asked for ten seconds.
        let error = ended(id, metadata, Duration::from_secs(30)).await;
        let error = error.expect_err("stops").to_string();
        assert!(error.contains(&format!("{id}-in-0")) && error.contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_other_programs_is_ignored() {
    for (id, metadata) in [("other", "AQAAAXs="), ("plausible", "hw1;t:counts:4000;p::5;x:y:-1")] {
        ended(id, metadata, Duration::from_secs(3)).await.expect("a graceful stop");
    }
}
