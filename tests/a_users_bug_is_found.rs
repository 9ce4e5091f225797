//! The guide's example, docs/testing.md: a program that keeps its state where no changelog sees
//! it, and the simulation that finds it out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use headwater::prelude::*;
use headwater::{Stream, Topology, chain::Chain};
use testkit::Simulation;

fn clicks() -> Topic<String, u64> {
    Topic::new("clicks")
}

fn numbered() -> Topic<String, u64> {
    Topic::new("numbered")
}

/// Numbers the clicks of each user. The state is in the closure: it is lost with the process, it
/// does not move with its partition, and an aborted transaction does not take it back.
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

/// A user's clicks are numbered 1, 2, 3, …, each once.
fn is_right(seed: u64, topology: fn() -> Topology) -> bool {
    let outcome = Simulation::new(seed, topology)
        .topic("clicks", 3)
        .topic("numbered", 3)
        .feed(&clicks(), 60, |dice, n| Record::new(format!("user-{}", dice.below(5)), n, 0))
        .run()
        .expect("it comes to an end");
    let mut last = BTreeMap::<String, u64>::new();
    let numbered = outcome.committed(&numbered()).expect("readable");
    numbered.into_iter().all(|click| {
        let before = last.insert(click.key, click.value).unwrap_or(0);
        click.value == before + 1
    })
}

#[test]
fn state_in_a_closure_is_found() {
    let found = (0..50).find(|seed| !is_right(*seed, with_the_bug));
    assert!(found.is_some(), "no seed finds it");
}

#[test]
fn state_in_a_table_is_right() {
    let wrong = (0..200).find(|seed| !is_right(*seed, without_it));
    assert_eq!(wrong, None);
}
