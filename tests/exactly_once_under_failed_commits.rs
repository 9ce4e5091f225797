//! Whatever the outcome of a commit (aborted, fenced, succeeded with a lost reply), every record
//! counts once.

mod support;

use headwater::spi::transport::ErrorKind;
use std::time::Duration;
use support::lab::{Lab, wait_for};
use testkit::faults::{Fault, TransportCall};

const WHILE: Duration = Duration::from_millis(600);

/// Feeds an instance whose calls of this kind sometimes have this fault, and checks the output.
async fn survives(id: &'static str, call: TransportCall, fault: Fault) {
    let mut lab = Lab::new(id, 2);
    let instance = lab.start("one");
    instance.runs().await;
    for _ in 0..3 {
        instance.faults.spare(call, 2);
        instance.faults.next(call, fault);
    }
    lab.feed(2_000, WHILE).await;
    let rewinds = || instance.status().commits.rewinds;
    wait_for("a rewind", || rewinds() > 0 || instance.has_ended()).await;
    lab.check(&[&instance]).await;
    assert!(rewinds() > 0, "the fault was not noticed");
    instance.stop().await.expect("a graceful stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_is_lost() {
    survives("commit-lost-reply", TransportCall::Commit, Fault::LostReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_lost() {
    survives("commit-unknown", TransportCall::Commit, Fault::Fails(ErrorKind::Unknown)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_must_be_aborted() {
    survives("commit-abortable", TransportCall::Commit, Fault::Fails(ErrorKind::Abortable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_fenced() {
    survives("commit-fenced", TransportCall::Commit, Fault::Fails(ErrorKind::Fenced)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_are_refused_by_the_group() {
    survives("offsets-abortable", TransportCall::SendOffsets, Fault::Fails(ErrorKind::Abortable))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_whose_reply_is_lost() {
    survives("offsets-lost-reply", TransportCall::SendOffsets, Fault::LostReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_sent_just_now() {
    survives("send-abortable", TransportCall::Send, Fault::Fails(ErrorKind::Abortable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_fails_too() {
    let mut lab = Lab::new("abort-fails", 2);
    let instance = lab.start("one");
    instance.runs().await;
    instance.faults.next(TransportCall::Commit, Fault::Fails(ErrorKind::Abortable));
    instance.faults.next(TransportCall::Abort, Fault::Fails(ErrorKind::Unknown));
    instance.faults.next(TransportCall::Commit, Fault::Fails(ErrorKind::Abortable));
    instance.faults.next(TransportCall::Abort, Fault::LostReply);
    lab.feed(2_000, WHILE).await;
    lab.check(&[&instance]).await;
    assert!(
        instance.status().commits.producers_retired + instance.faults.count(TransportCall::Abort)
            >= 2
    );
    instance.stop().await.expect("a graceful stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_that_fail_for_a_while() {
    let mut lab = Lab::new("look-ups-fail", 2);
    let instance = lab.start("one");
    instance.runs().await;
    let later = Fault::Fails(ErrorKind::Retriable);
    for call in [
        TransportCall::CommittedOffsets,
        TransportCall::Bounds,
        TransportCall::Restore,
        TransportCall::Fetch,
        TransportCall::PollGroup,
    ] {
        (0..5).for_each(|_| instance.faults.next(call, later));
    }
    instance.faults.next(TransportCall::Commit, Fault::LostReply);
    instance.faults.next(TransportCall::Init, later);
    lab.feed(2_000, WHILE).await;
    lab.check(&[&instance]).await;
    instance.stop().await.expect("a graceful stop");
}

/// The membership is unknown for a moment (the coordinator moves): nothing is committed without it,
/// and it is not mistaken for another process with the same identity.
#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_is_unknown_for_a_while() {
    let mut lab = Lab::new("membership-unknown", 2);
    let instance = lab.start("one");
    instance.runs().await;
    instance.faults.always(TransportCall::Metadata, Fault::Fails(ErrorKind::Fenced));
    lab.feed(500, Duration::from_secs(2)).await;
    assert!(!instance.has_ended(), "{:?}", instance.stop().await);
    instance.faults.heal();
    lab.feed(500, WHILE).await;
    lab.check(&[&instance]).await;
    instance.stop().await.expect("a graceful stop");
}

/// Every call that may fail sometimes fails, the same way for the same seed.
#[tokio::test(flavor = "multi_thread")]
async fn random_faults_of_every_call() {
    let mut lab = Lab::new("by-chance", 3);
    let one = lab.start("one");
    let two = lab.start("two");
    for (seed, instance) in [&one, &two].into_iter().enumerate() {
        let seed = 10 * seed as u64;
        let abortable = Fault::Fails(ErrorKind::Abortable);
        let faults = &instance.faults;
        faults.sometimes(TransportCall::SendOffsets, abortable, 20, seed + 1);
        faults.sometimes(TransportCall::Send, abortable, 2_000, seed + 2);
        faults.sometimes(TransportCall::Commit, abortable, 20, seed + 3);
        faults.sometimes(TransportCall::Commit, Fault::LostReply, 80, seed + 4);
        faults.sometimes(
            TransportCall::CommittedOffsets,
            Fault::Fails(ErrorKind::Retriable),
            3,
            seed + 5,
        );
        faults.sometimes(
            TransportCall::Restore,
            Fault::Slow(Duration::from_millis(10)),
            5,
            seed + 6,
        );
        faults.sometimes(TransportCall::Fetch, Fault::Fails(ErrorKind::Retriable), 20, seed + 7);
    }
    lab.feed(5_000, Duration::from_secs(4)).await;
    one.faults.heal();
    two.faults.heal();
    lab.check(&[&one, &two]).await;
    assert!(one.status().commits.rewinds + two.status().commits.rewinds > 0);
    one.stop().await.expect("a graceful stop");
    two.stop().await.expect("a graceful stop");
}
