//! A restore asks for the committed offsets, then for the ends of the changelogs, and reads what is
//! committed up to there. It believes neither answer if the other one contradicts it.

use std::time::Duration;

use crate::script::in_0;
use crate::world::{CHANGELOG, STORE, World, counts};
use headwater_runtime::transport::{ErrorKind, MemberEvent};
use headwater_runtime::{AppError, Guarantee};
use streams_core::OwnedRecord;

/// The requests of a restore, without look-ups of inputs.
const STEPS: [&str; 6] = ["open store", "look up", "bounds shop", "read", "load", "fetch"];

/// An application that has committed two records, and was killed.
fn killed() -> World {
    let mut world = World::running();
    world.input(&["a", "b"]);
    world.turn_until_committed(2);
    world.kill();
    world.script.forget_requests();
    world
}

fn turn_until_it_fetches(world: &mut World) {
    world.turn_until("it fetches", |world| world.script.count("fetch") > 0);
}

#[test]
fn offsets_are_asked_for_before_the_ends_and_only_the_tail_is_read() {
    let mut world = killed();
    // Committed after the store was written, by another instance.
    world.append_count("a", 7);
    world.script.set_committed("in", 2, "hw1;c:counts:4");
    world.start();
    turn_until_it_fetches(&mut world);
    assert_eq!(
        world.script.order_of(&STEPS),
        [
            "open store in-0",
            "look up committed offsets",
            "bounds shop-counts-changelog-0",
            "read shop-counts-changelog-0 from 2",
            "load table 0 up to 4",
            "fetch in-0 from 2",
        ]
    );
    world.input(&["a"]);
    world.turn_until_committed(3);
    assert_eq!(world.counts().last(), Some(&("a".to_owned(), 8)));
}

#[test]
fn a_store_at_the_end_reads_nothing() {
    let mut world = World::new(Guarantee::ExactlyOnce);
    world.start();
    turn_until_it_fetches(&mut world);
    assert_eq!(world.script.count("read"), 0);
    assert_eq!(world.script.count("fetch in-0 from 0"), 1);
}

#[test]
fn a_changelog_with_gaps_is_read_to_its_end() {
    let mut world = World::new(Guarantee::ExactlyOnce);
    // Compacted records before, between and after; the last offsets are markers.
    world.script.change(CHANGELOG, |changelog| changelog.end = 3);
    world.append_count("a", 5);
    world.script.change(CHANGELOG, |changelog| changelog.end += 4);
    world.append_count("b", 6);
    world.script.change(CHANGELOG, |changelog| changelog.end += 2);
    world.script.set_committed("in", 0, "hw1;c:counts:11");
    world.start();
    turn_until_it_fetches(&mut world);
    assert_eq!(world.stores.position(STORE), Some(11));
    world.input(&["a", "b"]);
    world.turn_until_committed(2);
    assert_eq!(world.counts(), counts(&[("a", 6), ("b", 7)]));
}

#[test]
fn a_tombstone_deletes_the_earlier_row() {
    let mut world = World::new(Guarantee::ExactlyOnce);
    world.append_count("a", 5);
    world.append(CHANGELOG, "a", None);
    world.start();
    world.input(&["a"]);
    world.turn_until_committed(1);
    assert_eq!(world.counts(), counts(&[("a", 1)]));
}

#[test]
fn a_restore_waits_for_offsets_that_an_open_transaction_holds() {
    let mut world = killed();
    for _ in 0..50 {
        world.script.fail("look up", ErrorKind::Retriable);
    }
    world.start();
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.script.order_of(&["bounds shop", "fetch"]).len(), 0);
    turn_until_it_fetches(&mut world);
    assert_eq!(world.script.count("look up"), 51);
    assert_eq!(world.script.count("fetch in-0 from 2"), 1);
}

#[test]
fn a_restore_waits_for_changelog_records_of_an_open_transaction() {
    let mut world = killed();
    world.append_count("a", 7);
    world.script.change(CHANGELOG, |changelog| changelog.held_from = Some(3));
    world.start();
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.script.count("fetch"), 0, "the end includes what is not committed yet");
    world.script.change(CHANGELOG, |changelog| changelog.held_from = None);
    world.script.set_committed("in", 2, "hw1;c:counts:4");
    turn_until_it_fetches(&mut world);
    assert_eq!(world.stores.position(STORE), Some(4));
}

#[test]
fn an_end_before_the_offsets_changelog_end_is_asked_for_again() {
    let mut world = killed();
    world.append_count("a", 7);
    world.script.set_committed("in", 2, "hw1;c:counts:4");
    // A former leader, which does not know that it was replaced.
    world.script.change(CHANGELOG, |changelog| changelog.stale_ends = [3, 3, 3].into());
    world.start();
    turn_until_it_fetches(&mut world);
    assert_eq!(world.script.count("bounds shop"), 4);
    assert_eq!(world.stores.position(STORE), Some(4));
}

#[test]
fn offsets_behind_the_changelog_are_asked_for_again() {
    let mut world = killed();
    // A former coordinator reports the offsets of the commit before the last.
    world.append_count("a", 7);
    world.start();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.script.count("fetch"), 0, "{:?}", world.script.requests());
    world.script.set_committed("in", 3, "hw1;c:counts:4");
    turn_until_it_fetches(&mut world);
    assert_eq!(world.script.count("fetch in-0 from 3"), 1);
}

#[test]
fn a_changelog_that_was_truncated_beyond_the_store_ends_the_application() {
    let mut world = killed();
    world.script.change(CHANGELOG, |changelog| {
        changelog.begin = 9;
        changelog.end = 9;
    });
    world.start();
    let error = world.turn_until_it_fails();
    let AppError::ChangelogLost { changelog, position, begin, end } = &error else {
        panic!("{error}")
    };
    assert_eq!((&*changelog.topic, *position, *begin, *end), (CHANGELOG, 2, 9, 9));
    assert_eq!(world.stores.position(STORE), Some(2), "nothing is cleared");
}

#[test]
fn a_store_that_cannot_be_opened_is_deleted_and_read_from_the_beginning() {
    let mut world = killed();
    world.script.fail("open store", ErrorKind::Fatal);
    world.start();
    turn_until_it_fetches(&mut world);
    assert_eq!(
        world.script.order_of(&["open store", "delete store", "read", "fetch"]),
        [
            "open store in-0 -> Fatal",
            "delete store in-0",
            "open store in-0",
            "read shop-counts-changelog-0 from 0",
            "fetch in-0 from 2",
        ]
    );
    world.input(&["a"]);
    world.turn_until_committed(3);
    assert_eq!(world.counts().last(), Some(&("a".to_owned(), 2)));
}

#[test]
fn a_foreign_changelog_record_ends_the_application_with_its_offset() {
    let mut world = World::new(Guarantee::ExactlyOnce);
    world.script.change(CHANGELOG, |changelog| changelog.end = 5);
    world.script.change(CHANGELOG, |changelog| {
        changelog.records.push(OwnedRecord { offset: 5, ..Default::default() });
        changelog.end = 6;
    });
    world.start();
    let error = world.turn_until_it_fails().to_string();
    assert!(error.contains(CHANGELOG) && error.contains('5'), "{error}");
}

#[test]
fn a_task_that_is_revoked_while_it_is_restored_is_closed_and_not_fetched() {
    let mut world = killed();
    world.append_count("a", 7);
    world.script.change(CHANGELOG, |changelog| changelog.held_from = Some(3));
    world.start();
    world.run_for(Duration::from_secs(1));
    world.script.member_event(MemberEvent::Revoked(vec![in_0("in")]));
    world.turn_until("unassigned", |world| world.script.count("unassign") > 0);
    assert_eq!(world.script.order_of(&["fetch", "commit"]).len(), 0);
}
