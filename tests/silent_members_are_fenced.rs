//! A member whose group thread is frozen loses its tasks while its workers go on. Their work from
//! then on is invisible, and it returns as a normal member.

mod support;

use std::time::Duration;

use support::lab::{Lab, wait_for};
use testkit::faults::{Fault, TransportCall};

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_a_silent_member_commit_nothing() {
    let mut lab = Lab::new("silent", 2);
    let silent = lab.start("silent");
    silent.runs().await;
    let heir = lab.start("heir");
    heir.runs().await;
    silent.runs().await;
    lab.feed(300, Duration::from_millis(200)).await;
    // Longer than the session; its worker notices nothing but refused commits.
    for _ in 0..2 {
        silent.faults.next(TransportCall::PollGroup, Fault::Slow(Duration::from_secs(2)));
        let rewinds = silent.status().commits.rewinds;
        lab.feed(1_000, Duration::from_millis(2_500)).await;
        wait_for("the loss", || silent.status().commits.rewinds > rewinds).await;
        lab.feed(200, Duration::from_millis(300)).await;
    }
    lab.check(&[&silent, &heir]).await;
    assert!(!silent.has_ended() && !heir.has_ended());
    let back = || !silent.status().tasks.is_empty() && !heir.status().tasks.is_empty();
    wait_for("both to have tasks again", back).await;
    silent.stop().await.expect("a graceful stop");
    heir.stop().await.expect("a graceful stop");
}

/// The same during a commit: between the offsets and its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_outlives_the_membership() {
    let mut lab = Lab::new("outlives", 2);
    let silent = lab.start("silent");
    silent.runs().await;
    let heir = lab.start("heir");
    heir.runs().await;
    silent.runs().await;
    for call in [TransportCall::Commit, TransportCall::SendOffsets] {
        silent.faults.next(call, Fault::Slow(Duration::from_millis(2_200)));
        silent.faults.next(TransportCall::PollGroup, Fault::Slow(Duration::from_millis(2_000)));
        lab.feed(500, Duration::from_millis(2_500)).await;
        lab.check(&[&silent, &heir]).await;
    }
    silent.stop().await.expect("a graceful stop");
    heir.stop().await.expect("a graceful stop");
}
