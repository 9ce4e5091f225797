//! The order of a commit is the guarantee: effects are acknowledged, then the offsets join them,
//! then the transaction is committed, and only then the stores are brought to it.

use std::time::Duration;

use crate::world::{CHANGELOG, MEMBER, STORE, World, counts};
use headwater_runtime::Guarantee;
use headwater_runtime::transport::ErrorKind;

/// The requests of a commit, without look-ups.
const STEPS: [&str; 7] = ["begin", "send", "flush", "offsets", "commit", "abort", "apply"];

#[test]
fn effects_are_acknowledged_before_the_offsets_join_and_stores_follow_the_commit() {
    let mut world = World::running();
    world.input(&["a", "b"]);
    world.turn_until_committed(2);
    assert_eq!(
        world.script.order_of(&STEPS)[..],
        [
            "begin",
            "send out-0",
            "send out-0",
            "send shop-counts-changelog-0",
            "send shop-counts-changelog-0",
            "flush",
            "offsets in-0@2",
            "commit",
            "apply table 0 up to 2",
        ]
    );
    assert_eq!(world.counts(), counts(&[("a", 1), ("b", 1)]));
}

#[test]
fn the_offsets_say_where_the_changelog_ends_with_the_commit() {
    let mut world = World::running();
    world.input(&["a", "b", "b"]);
    world.turn_until_committed(3);
    let committed = world.script.committed_offset("in").expect("committed");
    assert_eq!(committed.offset, Some(3));
    assert!(committed.metadata.contains(";c:counts:2"), "{}", committed.metadata);
}

#[test]
fn a_store_has_the_changelog_position_after_the_commit() {
    let mut world = World::running();
    world.input(&["a"]);
    world.turn_until_committed(1);
    assert_eq!(world.stores.position(STORE), Some(1));
    // A marker follows each transaction, so the next entry is at offset 2.
    world.input(&["a"]);
    world.turn_until_committed(2);
    assert_eq!(world.stores.position(STORE), Some(3));
}

#[test]
fn without_records_there_is_no_transaction() {
    let mut world = World::running();
    world.run_for(Duration::from_secs(5));
    assert!(world.script.order_of(&STEPS).is_empty(), "{:?}", world.script.requests());
}

#[test]
fn records_within_one_interval_are_one_transaction() {
    let mut world = World::running();
    world.input(&["a"]);
    world.turn_until_committed(1);
    world.script.forget_requests();
    // The next commit is an interval after the first one, 100 ms.
    for _ in 0..5 {
        world.input(&["a"]);
        world.turn().unwrap();
    }
    assert_eq!(world.script.count("commit"), 0);
    world.turn_until_committed(6);
    assert_eq!(world.script.order_of(&["begin", "offsets"]), ["begin", "offsets in-0@6"]);
}

#[test]
fn without_exactly_once_offsets_follow_the_flush_and_stores_follow_the_offsets() {
    let mut world = World::new(Guarantee::AtLeastOnce);
    world.start();
    world.input(&["a"]);
    world.turn_until_committed(1);
    assert_eq!(
        world.script.order_of(&STEPS)[..],
        [
            "send out-0",
            "send shop-counts-changelog-0",
            "flush",
            "commit offsets in-0@1",
            "apply table 0 up to 1",
        ]
    );
}

#[test]
fn offsets_do_not_join_effects_that_are_not_acknowledged() {
    let mut world = World::running();
    world.script.fail("flush", ErrorKind::Abortable);
    world.input(&["a"]);
    world.turn_until("an abort", |world| world.script.count("abort") > 0);
    let steps = world.script.order_of(&["flush", "offsets", "commit", "abort", "apply"]);
    assert_eq!(steps, ["flush -> Abortable", "abort"]);
}

#[test]
fn a_commit_waits_for_the_member_id_and_nothing_is_done_twice() {
    let mut world = World::running();
    world.script.set_member_id(None);
    world.input(&["a"]);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.script.count("commit"), 0);
    world.input(&["b"]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.script.count("send"), 1, "no other record is begun meanwhile");
    world.script.set_member_id(Some(MEMBER));
    world.turn_until_committed(2);
    assert_eq!(world.script.count("abort") + world.script.count("fetch"), 0);
    assert_eq!(world.counts(), counts(&[("a", 1), ("b", 1)]));
}

#[test]
fn a_commit_that_waits_for_the_member_id_for_too_long_is_rewound() {
    let mut world = World::running();
    world.script.set_member_id(None);
    world.input(&["a"]);
    // Half of the transaction's timeout of 10 s.
    world.run_for(Duration::from_millis(4_900));
    assert_eq!(world.script.count("abort"), 0);
    world.run_for(Duration::from_millis(300));
    assert_eq!(world.script.count("abort"), 1);
    assert_eq!(world.script.count("commit"), 0);
}

#[test]
fn offsets_are_not_sent_under_another_member_id_than_the_tasks_were_assigned_under() {
    let mut world = World::running();
    world.input(&["a"]);
    // The group has forgotten the member, and has assigned nothing to the new one yet.
    world.script.set_member_id(Some("member-2"));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.script.count("offsets"), 0, "{:#?}", world.script.requests());
    assert!(world.script.visible("out").is_empty() && world.script.visible(CHANGELOG).is_empty());
}
