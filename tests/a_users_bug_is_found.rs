//! The example in docs/testing.md: a program that keeps state outside any changelog, and the
//! simulation that finds this bug.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use headwater::operators::Chain;
use headwater::prelude::*;
use headwater::{Stream, Topology};
use testkit::{Outcome, SimError, Simulation, Summary, simulate};

fn clicks() -> Topic<String, u64> {
    Topic::new("clicks")
}

fn numbered() -> Topic<String, u64> {
    Topic::new("numbered")
}

/// Numbers the clicks of each user. The state is in the closure: it is lost with the process, does
/// not move with its partition, and is not undone by an aborted transaction.
fn number_clicks<'b, C: Chain<Key = String, Value = u64>>(
    clicks: Stream<'b, String, u64, C>,
) -> Stream<'b, String, u64, impl Chain<Key = String, Value = u64>> {
    let seen = Mutex::new(HashMap::<String, u64>::new());
    clicks.map(move |user, _| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seen.entry(user.clone()).or_default();
        *number += 1;
        (user, *number)
    })
}

fn with_the_bug() -> Topology {
    let app = Builder::new("clicks");
    number_clicks(app.stream(&clicks())).to(&numbered());
    app.build().expect("valid")
}

fn without_it() -> Topology {
    let app = Builder::new("clicks");
    app.stream(&clicks()).group_by_key().count(&Table::new("clicks-seen")).to(&numbered());
    app.build().expect("valid")
}

fn clicks_are_numbered(seeds: Range<u64>, topology: fn() -> Topology) -> Result<Summary, SimError> {
    simulate(seeds, |seed| {
        Simulation::new(seed, topology)
            .topic("clicks", 3)
            .topic("numbered", 3)
            .feed(&clicks(), 60, |dice, n| Record::new(format!("user-{}", dice.below(5)), n, 0))
            .check(each_number_once)
    })
}

/// A user's clicks are numbered 1, 2, 3, …, each once.
fn each_number_once(outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    let mut last = BTreeMap::<String, u64>::new();
    for Record { key: user, value: number, .. } in outcome.committed(&numbered())? {
        let before = last.insert(user.clone(), number).unwrap_or(0);
        assert_eq!(number, before + 1, "the next click of {user}");
    }
    Ok(())
}

#[test]
fn state_in_a_closure_is_found() {
    let failure = clicks_are_numbered(0..50, with_the_bug).expect_err("no seed finds it");
    let report = failure.to_string();
    for part in [
        format!("seed {}: ", failure.seed),
        "the next click of user-".to_owned(),
        format!("HEADWATER_SEED={} cargo test state_in_a_closure_is_found", failure.seed),
        "instance 0 has started".to_owned(),
    ] {
        assert!(report.contains(&part), "{part} is not in\n{report}");
    }
    let again = clicks_are_numbered(failure.seed..failure.seed + 1, with_the_bug);
    assert_eq!(again.expect_err("the same seed").history, failure.history);
}

#[test]
fn state_in_a_table_is_right() {
    let summary = clicks_are_numbered(0..200, without_it);
    let summary = summary.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(summary.seeds > 0);
}

#[test]
fn a_table_can_be_looked_into() {
    let simulation = Simulation::new(7, without_it).topic("clicks", 3).topic("numbered", 3);
    let simulation =
        simulation.feed(&clicks(), 30, |_, n| Record::new(format!("u{}", n % 3), n, 0));
    let outcome = simulation.run().unwrap_or_else(|failure| panic!("{failure}"));
    let rows = outcome.table_rows(&Table::<String, u64>::new("clicks-seen")).expect("a table");
    assert_eq!(rows, ["u0", "u1", "u2"].map(|user| (user.to_owned(), 10)).into());
    let missing = outcome.table_rows(&Table::<String, u64>::new("clicks-lost"));
    assert!(missing.is_err_and(|error| error.to_string().contains("clicks-lost")));
}
