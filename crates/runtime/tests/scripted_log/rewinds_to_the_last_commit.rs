//! Whatever fails while work is uncommitted: the worker returns to the last commit, learns from the
//! log what that was, and processes the rest again.

use std::time::Duration;

use crate::script::in_0;
use crate::world::{CHANGELOG, STORE, World, counts};
use headwater_runtime::AppError;
use headwater_runtime::transport::{ErrorKind, MemberEvent};

/// An application that has committed one record, and has another one before it.
fn with_one_committed() -> World {
    let mut world = World::running();
    world.input(&["a"]);
    world.turn_until_committed(1);
    world.script.forget_requests();
    world.input(&["a"]);
    world
}

/// Every count is sent once, and the table continues from what is committed.
fn assert_exactly_once(world: &mut World) {
    world.turn_until_committed(2);
    assert_eq!(world.counts(), counts(&[("a", 1), ("a", 2)]));
    assert_eq!(world.script.committed_offset("in").unwrap().offset, Some(2));
}

#[test]
fn a_transaction_that_does_not_begin_is_begun_again() {
    let mut world = with_one_committed();
    world.script.fail("begin", ErrorKind::Abortable);
    assert_exactly_once(&mut world);
    let requests = ["begin", "abort", "fetch", "offsets"];
    assert_eq!(
        world.script.order_of(&requests),
        ["begin -> Abortable", "fetch in-0 from 1", "begin", "offsets in-0@2"],
        "there is nothing to abort"
    );
}

#[test]
fn a_record_that_is_not_sent_is_processed_again_from_the_committed_offset() {
    let mut world = with_one_committed();
    world.script.fail("send out", ErrorKind::Abortable);
    assert_exactly_once(&mut world);
    let requests = ["abort", "look up", "fetch", "offsets", "open producer"];
    assert_eq!(
        world.script.order_of(&requests),
        ["abort", "look up committed offsets", "fetch in-0 from 1", "offsets in-0@2"],
        "the producer is kept"
    );
}

#[test]
fn refused_offsets_are_aborted_with_their_effects() {
    let mut world = with_one_committed();
    world.script.fail("offsets", ErrorKind::Abortable);
    assert_exactly_once(&mut world);
    let requests = ["offsets", "abort", "commit", "apply"];
    assert_eq!(
        world.script.order_of(&requests),
        [
            "offsets in-0@2 -> Abortable",
            "abort",
            "offsets in-0@2",
            "commit",
            // The entry of the aborted transaction, its marker, and the second attempt's entry.
            "apply table 0 up to 5",
        ]
    );
}

#[test]
fn a_fenced_producer_is_replaced_before_the_log_is_asked_what_is_committed() {
    let mut world = with_one_committed();
    world.script.fail("commit", ErrorKind::Fenced);
    assert_exactly_once(&mut world);
    let requests = ["commit", "abort", "open producer", "init", "look up"];
    assert_eq!(
        world.script.order_of(&requests),
        ["commit -> Fenced", "open producer", "init", "look up committed offsets", "commit"]
    );
}

#[test]
fn a_commit_of_unknown_outcome_that_happened_is_not_repeated() {
    let mut world = with_one_committed();
    world.script.lose_the_answer_to("commit", ErrorKind::Unknown);
    world.turn_until("it fetches", |world| world.script.count("fetch") > 0);
    // The store learns from the changelog what was committed.
    let requests = ["commit", "open producer", "apply", "read", "load", "fetch"];
    assert_eq!(
        world.script.order_of(&requests),
        [
            "commit -> Unknown",
            "open producer",
            "read shop-counts-changelog-0 from 1",
            "load table 0 up to 4",
            "fetch in-0 from 2",
        ]
    );
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.counts(), counts(&[("a", 1), ("a", 2)]));
    world.input(&["a"]);
    world.turn_until_committed(3);
    assert_eq!(world.counts(), counts(&[("a", 1), ("a", 2), ("a", 3)]));
}

#[test]
fn a_commit_of_unknown_outcome_that_did_not_happen_is_processed_again() {
    let mut world = with_one_committed();
    world.script.fail("commit", ErrorKind::Unknown);
    assert_exactly_once(&mut world);
    let requests = ["commit", "abort", "open producer", "init", "fetch"];
    assert_eq!(
        world.script.order_of(&requests),
        // The producer is not asked to abort: its late commit could end the next transaction.
        ["commit -> Unknown", "open producer", "init", "fetch in-0 from 1", "commit"]
    );
}

#[test]
fn a_producer_that_cannot_abort_is_replaced() {
    let mut world = with_one_committed();
    world.script.fail("flush", ErrorKind::Abortable);
    world.script.fail("abort", ErrorKind::Unknown);
    assert_exactly_once(&mut world);
    let requests = ["flush", "abort", "open producer", "init"];
    assert_eq!(
        world.script.order_of(&requests),
        ["flush -> Abortable", "abort -> Unknown", "open producer", "init", "flush"]
    );
    assert_eq!(world.status().commits.producers_retired, 0, "the rewind itself kept it");
}

#[test]
fn an_identity_that_is_fenced_again_and_again_ends_the_application() {
    let mut world = with_one_committed();
    for _ in 0..13 {
        world.script.fail("commit", ErrorKind::Fenced);
    }
    let error = world.turn_until_it_fails();
    assert!(matches!(error, AppError::Fenced { times: 13, .. }), "{error}");
    assert!(error.to_string().contains("shop-i-0"), "{error}");
}

#[test]
fn a_refused_record_ends_the_application_and_nothing_of_it_is_visible() {
    let mut world = with_one_committed();
    world.script.fail("send out", ErrorKind::Refused);
    let error = world.turn_until_it_fails();
    assert!(error.to_string().contains("send out-0"), "{error}");
    assert_eq!(world.script.order_of(&["abort", "commit"]), ["abort"]);
    assert_eq!(world.counts(), counts(&[("a", 1)]));
}

#[test]
fn revoked_tasks_are_committed_and_closed_before_their_partitions_are_unassigned() {
    let mut world = with_one_committed();
    // The record is processed, and its commit is not due yet.
    world.turn().unwrap();
    assert_eq!(world.script.order_of(&["send", "commit"]), ["send out-0"]);
    world.script.member_event(MemberEvent::Revoked(vec![in_0("in")]));
    world.turn_until("unassigned", |world| world.script.count("unassign") > 0);
    let requests = ["offsets", "commit", "apply", "stop", "unassign"];
    assert_eq!(
        world.script.order_of(&requests),
        [
            "offsets in-0@2",
            "commit",
            "apply table 0 up to 3",
            "stop fetching in-0",
            "unassign in-0"
        ]
    );
    assert_eq!(world.counts(), counts(&[("a", 1), ("a", 2)]));
}

#[test]
fn lost_tasks_are_closed_without_a_commit() {
    let mut world = with_one_committed();
    world.turn().unwrap();
    world.script.member_event(MemberEvent::Lost(vec![in_0("in")]));
    world.turn_until("unassigned", |world| world.script.count("unassign") > 0);
    let requests = ["offsets", "commit", "apply", "abort", "stop", "unassign"];
    let steps = ["abort", "stop fetching in-0", "unassign in-0"];
    assert_eq!(world.script.order_of(&requests), steps);
    assert_eq!(world.stores.position(STORE), Some(1), "as of the last commit");
    assert_eq!(world.script.visible(CHANGELOG), [0]);
}

#[test]
fn a_graceful_stop_commits_before_it_leaves_the_group() {
    let mut world = with_one_committed();
    world.turn().unwrap();
    world.stop();
    world.turn_until("it leaves", |world| world.script.count("leave") > 0);
    assert_eq!(world.script.order_of(&["commit", "leave"]), ["commit", "leave"]);
    assert_eq!(world.counts(), counts(&[("a", 1), ("a", 2)]));
}
