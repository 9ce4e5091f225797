//! Instances are killed, frozen and restarted: every record counts once, and nothing is restored
//! twice.

mod support;

use std::time::Duration;

use support::lab::{Lab, config, wait_for};
use testkit::faults::{Fault, Faults, SurvivingStores, TransportCall};

/// One of two instances is killed ten times at random moments, and restarted at once on its disk.
#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_under_load() {
    let mut lab = Lab::new("ten-kills", 4);
    let other = lab.start("other");
    let disk = SurvivingStores::new();
    for kill in 0..10_u64 {
        let victim = lab.start_on("victim", Faults::new(), &disk, config());
        // Random moments: during a restore, a transaction, a rebalance.
        lab.feed(300, Duration::from_millis(40 + 57 * (kill % 4))).await;
        victim.kill();
    }
    let victim = lab.start_on("victim", Faults::new(), &disk, config());
    lab.feed(300, Duration::from_millis(100)).await;
    lab.check(&[&victim, &other]).await;
    victim.stop().await.expect("a graceful stop");
    other.stop().await.expect("a graceful stop");
}

/// Killed between the log's commit and the store's: the restart finds the rest in the changelog.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_commit_and_the_store() {
    let mut lab = Lab::new("killed-after-commit", 2);
    let disk = SurvivingStores::new();
    for _ in 0..3 {
        let victim = lab.start_on("victim", Faults::new(), &disk, config());
        victim.runs().await;
        victim.faults.spare(TransportCall::Commit, 3);
        victim.faults.next(TransportCall::Commit, Fault::LostReply);
        // Any call after that commit would come from the next producer.
        let rewinds = || victim.status().commits.rewinds > 0;
        lab.feed(500, Duration::from_millis(300)).await;
        wait_for("the lost reply", rewinds).await;
        victim.kill();
    }
    let victim = lab.start_on("victim", Faults::new(), &disk, config());
    lab.check(&[&victim]).await;
    victim.stop().await.expect("a graceful stop");
}

/// A restart with the same identity does not wait for its own dead transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_fences_its_own_past_at_once() {
    let mut lab = Lab::new("fences-past", 2);
    let disk = SurvivingStores::new();
    let patient = || headwater::Config {
        session_timeout: Duration::from_secs(25),
        transaction_timeout: Duration::from_secs(25),
        ..config()
    };
    let victim = lab.start_on("victim", Faults::new(), &disk, patient());
    victim.runs().await;
    // It dies with a transaction open.
    victim.faults.always(TransportCall::Commit, Fault::Slow(Duration::from_secs(1)));
    lab.feed(200, Duration::from_millis(100)).await;
    wait_for("a commit", || victim.faults.count(TransportCall::SendOffsets) > 0).await;
    victim.kill();
    let started = std::time::Instant::now();
    let victim = lab.start_on("victim", Faults::new(), &disk, patient());
    lab.check(&[&victim]).await;
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    victim.stop().await.expect("a graceful stop");
}

/// An instance is frozen (SIGSTOP) until another has taken over its tasks, then resumed: none of
/// its pending work becomes visible.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_instance_writes_nothing() {
    let mut lab = Lab::new("zombie", 2);
    let zombie = lab.start("zombie");
    zombie.runs().await;
    lab.feed(500, Duration::from_millis(200)).await;
    let heir = lab.start("heir");
    heir.runs().await;
    zombie.runs().await;
    lab.feed(200, Duration::from_millis(20)).await;
    zombie.faults.freeze();
    lab.feed(500, Duration::from_millis(500)).await;
    // The log notices, and the other instance gets everything: one task for each partition and
    // sub-topology.
    wait_for("the heir", || heir.status().tasks.len() == 4).await;
    heir.runs().await;
    lab.check(&[&heir]).await;
    zombie.faults.thaw();
    lab.feed(500, Duration::from_millis(500)).await;
    lab.check(&[&heir, &zombie]).await;
    let _ = zombie.stop().await;
    lab.feed(200, Duration::from_millis(100)).await;
    lab.check(&[&heir]).await;
    heir.stop().await.expect("a graceful stop");
}
