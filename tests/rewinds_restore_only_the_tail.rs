//! A rewind, and a restart on an intact disk, read only the missing part of the changelogs.

mod support;

use std::time::Duration;

use support::lab::{Instance, Lab, config, wait_for};
use testkit::faults::{Fault, Faults, SurvivingStores, TransportCall};

fn restored(instance: &Instance) -> u64 {
    instance.status().tasks.values().map(|task| task.restored).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_restores_nothing_that_is_there() {
    let mut lab = Lab::new("abort-tail", 2);
    let instance = lab.start("one");
    instance.runs().await;
    lab.feed(3_000, Duration::from_millis(600)).await;
    lab.check(&[&instance]).await;
    instance
        .faults
        .next(TransportCall::Commit, Fault::Fails(headwater::spi::transport::ErrorKind::Abortable));
    lab.feed(100, Duration::from_millis(100)).await;
    wait_for("the rewind", || instance.status().commits.rewinds == 1).await;
    lab.check(&[&instance]).await;
    assert_eq!(restored(&instance), 0, "everything committed was in the stores already");
    instance.stop().await.expect("a graceful stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_a_reply_restores_that_commit() {
    let mut lab = Lab::new("unknown-tail", 1);
    let instance = lab.start("one");
    instance.runs().await;
    lab.feed(3_000, Duration::from_millis(600)).await;
    lab.check(&[&instance]).await;
    instance.faults.always(TransportCall::Commit, Fault::LostReply);
    lab.feed(1, Duration::from_millis(20)).await;
    // Once for the repartitioned record, once for its count.
    wait_for("both rewinds", || instance.status().commits.rewinds >= 2).await;
    instance.faults.heal();
    lab.check(&[&instance]).await;
    // A commit of seven buckets writes at most seven changelog records.
    assert!((1..=14).contains(&restored(&instance)), "{}", restored(&instance));
    instance.stop().await.expect("a graceful stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_a_graceful_stop_restores_nothing() {
    let mut lab = Lab::new("graceful-tail", 2);
    let disk = SurvivingStores::new();
    let instance = lab.start_on("one", Faults::new(), &disk, config());
    lab.feed(3_000, Duration::from_millis(600)).await;
    lab.check(&[&instance]).await;
    instance.stop().await.expect("a graceful stop");
    let instance = lab.start_on("one", Faults::new(), &disk, config());
    lab.feed(100, Duration::from_millis(100)).await;
    lab.check(&[&instance]).await;
    assert_eq!(restored(&instance), 0);
    instance.stop().await.expect("a graceful stop");
}

/// Feeds an instance, checks the output, and stops the instance gracefully.
async fn feed_and_stop(lab: &mut Lab, instance: Instance, records: u64, within: Duration) {
    lab.feed(records, within).await;
    lab.check(&[&instance]).await;
    instance.stop().await.expect("a graceful stop");
}

/// A task that returns after a while restores its table from where it left it, and a store never
/// claims an earlier position than it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_comes_back_restores_what_happened_meanwhile() {
    let mut lab = Lab::new("comes-back", 1);
    let disk = SurvivingStores::new();
    let first = lab.start_on("first", Faults::new(), &disk, config());
    feed_and_stop(&mut lab, first, 2_000, Duration::from_millis(400)).await;
    let second = lab.start("second");
    feed_and_stop(&mut lab, second, 50, Duration::from_millis(50)).await;
    let first = lab.start_on("first", Faults::new(), &disk, config());
    first.runs().await;
    lab.check(&[&first]).await;
    let records = restored(&first);
    assert!((1..=50).contains(&records), "{records}: more than what happened meanwhile");
    first.stop().await.expect("a graceful stop");
}

/// While a copy was unused, deletions may have been compacted away with their tombstones. Only
/// reading the whole changelog is certainly right.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_unused_for_too_long_is_rebuilt() {
    let mut lab = Lab::new("stale", 1);
    let disk = SurvivingStores::new();
    let first = lab.start_on("first", Faults::new(), &disk, config());
    feed_and_stop(&mut lab, first, 2_000, Duration::from_millis(400)).await;
    disk.age(Duration::from_secs(13 * 60 * 60));
    let first = lab.start_on("first", Faults::new(), &disk, config());
    first.runs().await;
    assert_eq!(restored(&first), 0, "old, but nothing was missing");
    first.stop().await.expect("a graceful stop");
    let second = lab.start("second");
    feed_and_stop(&mut lab, second, 50, Duration::from_millis(50)).await;
    let first = lab.start_on("first", Faults::new(), &disk, config());
    first.runs().await;
    lab.check(&[&first]).await;
    assert!(restored(&first) > 50, "{}: the tail only", restored(&first));
    first.stop().await.expect("a graceful stop");
}
