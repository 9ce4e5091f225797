//! Instances are killed, stand still and come back: every record counts once, and what was restored
//! is not restored again.

mod support;

use std::time::Duration;

use support::lab::{Lab, config, wait_for};
use testkit::faults::{Call, Fault, Faults, SurvivingStores};

/// One of two instances is killed ten times at odd moments, and started again at once on its disk.
#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_under_load() {
    let mut lab = Lab::new("ten-kills", 4);
    let other = lab.start("other");
    let disk = SurvivingStores::new();
    for kill in 0..10_u64 {
        let victim = lab.start_on("victim", Faults::new(), &disk, config());
        // Odd moments: in the middle of a restore, of a transaction, of a rebalance.
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
        victim.faults.spare(Call::Commit, 3);
        victim.faults.next(Call::Commit, Fault::LostReply);
        // Whatever comes after that commit would have been the retired producer's successor.
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
    victim.faults.always(Call::Commit, Fault::Slow(Duration::from_secs(1)));
    lab.feed(200, Duration::from_millis(100)).await;
    wait_for("a commit", || victim.faults.count(Call::SendOffsets) > 0).await;
    victim.kill();
    let started = std::time::Instant::now();
    let victim = lab.start_on("victim", Faults::new(), &disk, patient());
    lab.check(&[&victim]).await;
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    victim.stop().await.expect("a graceful stop");
}

/// Stopped (SIGSTOP) in the middle of its work until another instance has taken its tasks over,
/// then let go on: what it had in hand is seen by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_writes_nothing() {
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
    // The log notices, and the heir gets everything: one task for each partition and sub-topology.
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
