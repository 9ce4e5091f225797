//! A graceful stop finishes in time whenever it is requested, commits, and leaves nothing to wait
//! for.

mod support;

use std::time::{Duration, Instant};

use support::lab::{Lab, wait_for};
use testkit::faults::{Fault, TransportCall};

const SLOW: Fault = Fault::Slow(Duration::from_millis(30));

/// Partitions that are assigned after the stop was requested are given up too.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_joining() {
    let lab = Lab::new("stop-joining", 4);
    for wait in [0, 10, 30, 60, 100] {
        let instance = lab.start("one");
        instance.faults.always(TransportCall::PollGroup, SLOW);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        instance.stop().await.unwrap_or_else(|error| panic!("after {wait} ms: {error}"));
    }
}

/// Partitions that the group revokes at that moment are given up once.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_revocation() {
    let mut lab = Lab::new("stop-revoked", 4);
    let one = lab.start("one");
    one.runs().await;
    lab.feed(200, Duration::from_millis(100)).await;
    // The commit of the revoked tasks takes its time; the stop comes meanwhile.
    one.faults.always(TransportCall::Commit, Fault::Slow(Duration::from_millis(400)));
    lab.feed(50, Duration::from_millis(20)).await;
    let two = lab.start("two");
    let closing = || {
        let status = one.status();
        status.tasks.values().any(|task| task.state == headwater::status::TaskState::Closing)
    };
    wait_for("a revocation", closing).await;
    one.stop().await.expect("a graceful stop");
    lab.check(&[&two]).await;
    two.stop().await.expect("a graceful stop");
}

/// The tasks of one move to the other, which is about to stop too.
#[tokio::test(flavor = "multi_thread")]
async fn all_instances_at_once() {
    let mut lab = Lab::new("stop-all", 4);
    let one = lab.start("one");
    let two = lab.start("two");
    one.runs().await;
    two.runs().await;
    lab.feed(200, Duration::from_millis(100)).await;
    one.faults.always(TransportCall::Commit, Fault::Slow(Duration::from_millis(700)));
    lab.feed(50, Duration::from_millis(20)).await;
    let (one, two) = tokio::join!(one.stop(), two.stop());
    one.expect("a graceful stop");
    two.expect("a graceful stop");
    let heir = lab.start("heir");
    lab.check(&[&heir]).await;
    heir.stop().await.expect("a graceful stop");
}

/// Processed records are committed, and the next start continues from there at once.
#[tokio::test(flavor = "multi_thread")]
async fn commits_what_is_in_hand() {
    let mut lab = Lab::new("stop-commits", 2);
    for _ in 0..3 {
        let instance = lab.start("one");
        instance.runs().await;
        lab.feed(100, Duration::from_millis(30)).await;
        let started = Instant::now();
        instance.stop().await.expect("a graceful stop");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    let instance = lab.start("one");
    lab.check(&[&instance]).await;
    instance.stop().await.expect("a graceful stop");
}
