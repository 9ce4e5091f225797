//! An application continues under at-least-once after exactly-once: aborted records stay aborted.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::prelude::*;
use headwater::spi::transport::ErrorKind;
use headwater::{Config, Topology};
use support::lab::{Lab, config, wait_for};
use testkit::faults::{Fault, Faults, TransportCall};

fn counting(lab: &Lab) -> Topology {
    let builder = Builder::new("switching");
    let counts = builder.stream(&lab.topic("in")).group_by_key().count(&Table::new("counts"));
    counts.to(&lab.topic("counts"));
    builder.build().expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_changelog_records_are_not_restored() {
    let mut lab = Lab::new("switching", 1);
    let strict = lab.start_topology(counting(&lab), "strict", Faults::new(), config());
    strict.runs().await;
    lab.feed(500, Duration::from_millis(100)).await;
    wait_for("a commit", || strict.status().commits.commits > 0).await;
    strict.faults.always(TransportCall::Commit, Fault::Fails(ErrorKind::Abortable));
    let rewinds = strict.status().commits.rewinds;
    lab.feed(500, Duration::from_millis(100)).await;
    wait_for("aborts", || strict.status().commits.rewinds > rewinds + 3).await;
    strict.kill();

    let loose = Config { guarantee: Guarantee::AtLeastOnce, ..config() };
    let loose = lab.start_topology(counting(&lab), "loose", Faults::new(), loose);
    let mut last = BTreeMap::new();
    let mut reader = lab.client.reader(&lab.topic("counts")).expect("reader");
    wait_for("the counts", || {
        for read in reader.read_to_end().expect("reads") {
            last.insert(read.record.key, read.record.value);
        }
        last.values().sum::<u64>() >= 1_000
    })
    .await;
    assert_eq!(last.values().sum::<u64>(), 1_000, "counted what was aborted");
    loose.stop().await.expect("a graceful stop");
}
