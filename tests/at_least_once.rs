//! Under at-least-once nothing is lost, and without a crash nothing is duplicated.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::Config;
use headwater::prelude::*;
use support::lab::{Instance, Lab, config, wait_for};
use testkit::faults::{Fault, Faults, SurvivingStores, TransportCall};

fn loose() -> Config {
    Config { guarantee: Guarantee::AtLeastOnce, ..config() }
}

/// The highest count of each bucket, once they come to `total` or more.
async fn counted(lab: &Lab, total: u64) -> u64 {
    let mut last = BTreeMap::new();
    let mut reader = lab.client.reader(&lab.topic("counts")).expect("reader");
    wait_for("the counts", || {
        for read in reader.read_to_end().expect("reads") {
            last.insert(read.record.key, read.record.value);
        }
        last.values().sum::<u64>() >= total
    })
    .await;
    last.values().sum()
}

fn start(lab: &Lab, disk: &SurvivingStores) -> Instance {
    lab.start_on("one", Faults::new(), disk, loose())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_crash_it_is_exact() {
    let mut lab = Lab::new("loose-calm", 2);
    let disk = SurvivingStores::new();
    for _ in 0..3 {
        let instance = start(&lab, &disk);
        lab.feed(300, Duration::from_millis(100)).await;
        lab.check(&[&instance]).await;
        instance.stop().await.expect("a graceful stop");
    }
}

/// The commit succeeded, but its reply was lost: the store is restored from the changelog, from the
/// first record that it lacks.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_a_reply_is_found_in_the_changelog() {
    let mut lab = Lab::new("loose-unknown", 1);
    let instance = start(&lab, &SurvivingStores::new());
    instance.runs().await;
    for _ in 0..5 {
        lab.feed(20, Duration::from_millis(20)).await;
        lab.check(&[&instance]).await;
        let rewinds = instance.status().commits.rewinds;
        // The first commit is that of the repartitioned record, the second that of its count.
        instance.faults.spare(TransportCall::CommitOffsets, 1);
        instance.faults.next(TransportCall::CommitOffsets, Fault::LostReply);
        lab.feed(1, Duration::from_millis(20)).await;
        wait_for("the rewind", || instance.status().commits.rewinds > rewinds).await;
        lab.check(&[&instance]).await;
    }
    instance.stop().await.expect("a graceful stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing() {
    let mut lab = Lab::new("loose-kills", 2);
    let disk = SurvivingStores::new();
    for _ in 0..5 {
        let victim = start(&lab, &disk);
        victim.runs().await;
        lab.feed(300, Duration::from_millis(100)).await;
        victim.kill();
    }
    let instance = start(&lab, &disk);
    assert!(counted(&lab, 1_500).await >= 1_500);
    instance.stop().await.expect("a graceful stop");
}
