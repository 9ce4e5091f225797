//! On a real broker of its own: three instances of one application under load go through kills,
//! stand-stills, full disks, damaged files, lost disks, truncated changelogs, a twin with the same
//! identity, and joins in the middle of it all; the input has aborted
//! transactions and records that cannot be decoded. Nothing is lost, doubled or torn, as Kafka's
//! own console consumer sees it; after each of them everything is caught up within 30 s; no state
//! is wiped but for the damage; and an instance that nobody touches stays as large as it was.
//!
//! `HEADWATER_ROUNDS=20` goes through all of them so many times; once is the default.
//! `HEADWATER_FAULTS=kill,joins` goes through those only whose names contain one of these words.
//!
//! | file | what it does |
//! |---|---|
//! | `broker.rs` | brokers that can be killed, and Kafka's own consumer |
//! | `faults.rs` | what happens |
//! | `job.rs` | the application, its input, and what its output must be |
//! | `usage.rs` | memory, files and threads of a process |
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "../support/mod.rs"]
mod support;

mod broker;
mod faults;
mod job;
mod usage;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use broker::Broker;
use faults::{BROKER_FAULTS, FAULTS, Fault, Matrix};
use job::Job;
use support::child::run_child;
use usage::Usage;

const MINUTE: Duration = Duration::from_secs(60);

/// Not a test of its own: what the child processes run.
#[test]
fn child() {
    run_child(job::topology);
}

#[test]
fn nothing_is_lost_doubled_or_torn() {
    go_through(1, &FAULTS, Duration::from_secs(30));
}

/// Takes the machine's disk and processors for Kafka's starts: gone through by `./dev faults` only.
#[test]
fn one_of_three_brokers_dies_or_stands_still() {
    if is_asked_for("HEADWATER_BROKER_DIES") {
        go_through(3, &BROKER_FAULTS, Duration::from_secs(30));
    }
}

/// The same with one node only, on which nothing takes over what the dead one had. Sooner or later
/// Kafka 4.3 loses the end of a transaction in it (KAFKA-20734), whoever its clients are:
/// `scripts/kafka/skipped_markers.sh`.
#[test]
fn the_only_broker_dies_or_stands_still() {
    if is_asked_for("HEADWATER_ONLY_BROKER_DIES") {
        go_through(1, &BROKER_FAULTS, Duration::from_secs(60));
    }
}

fn is_asked_for(name: &str) -> bool {
    let is_set = std::env::var_os(name).is_some();
    if !is_set {
        println!("skipped: {name} is not set");
    }
    is_set
}

/// Whether a fault's name contains one of the words of `HEADWATER_FAULTS`, separated by commas.
fn is_chosen(fault: &Fault) -> bool {
    let Ok(chosen) = std::env::var("HEADWATER_FAULTS") else { return true };
    chosen.split(',').any(|word| fault.name.contains(word))
}

/// For one test after the other: they would choose the same ports, and disturb each other.
static MACHINE: Mutex<()> = Mutex::new(());

/// With so many brokers. `within` so much time of a fault's end everything that was fed until then
/// must be counted.
fn go_through(nodes: u16, faults: &[Fault], within: Duration) {
    if std::env::var_os("HEADWATER_KAFKA").is_none() {
        println!("skipped: HEADWATER_KAFKA names no broker, so there may be none here");
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let rounds = support::rounds();
    let broker = Broker::start(nodes);
    let job = Job::start(broker.config(), &support::unique("matrix"));
    let mut matrix = Matrix::new(broker, job);
    matrix.catches_up("the start", Duration::from_secs(60));
    std::thread::sleep(Duration::from_secs(5));
    let at_first = Usage::of(matrix.steady());
    let steady = matrix.steady();
    let chosen = faults.iter().filter(|fault| is_chosen(fault));
    let mut shown = Instant::now();
    for fault in std::iter::repeat_n(chosen, rounds).flatten() {
        (fault.strike)(&mut matrix);
        matrix.tend();
        let took = matrix.catches_up(fault.name, within);
        let at = began.elapsed();
        let fed = matrix.fed();
        println!("{at:>6.1?} {:<45} caught up after {took:.1?}, {fed} fed", fault.name);
        if shown.elapsed() >= MINUTE {
            println!("{at:>6.1?} the first instance: {:?}", Usage::of(matrix.steady()));
            shown = Instant::now();
        }
    }
    let at_last = Usage::of(matrix.steady());
    if steady == matrix.steady() {
        println!("the instance that nobody touched: {at_first:?}, in the end {at_last:?}");
        at_last.has_not_outgrown(&at_first);
    }
    matrix.check();
    let count = rounds * faults.iter().filter(|fault| is_chosen(fault)).count();
    let took = began.elapsed();
    println!("{count} faults in {took:.0?}: nothing lost, doubled or torn");
}
