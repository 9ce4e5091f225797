//! On a real broker of its own: three instances of one application under load go through kills,
//! stand-stills, a broker that dies, full disks, damaged files, lost disks, truncated changelogs, a
//! twin with the same identity, and joins in the middle of it all; the input has aborted
//! transactions and records that cannot be decoded. Nothing is lost, doubled or torn, as Kafka's
//! own console consumer sees it; after each of them everything is caught up within 30 s; no state
//! is wiped but for the damage; and an instance that nobody touches stays as large as it was.
//!
//! `HEADWATER_ROUNDS=20` goes through all of them so many times; once is the default.
//! `HEADWATER_FAULT=broker` takes only those with that in their name.
//!
//! | file | what it does |
//! |---|---|
//! | `broker.rs` | a broker that can be killed, and Kafka's own consumer |
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

use std::time::{Duration, Instant};

use broker::Broker;
use faults::{FAULTS, Fault, Matrix};
use job::Job;
use support::child::run_child;
use usage::Usage;

/// So soon after a fault is over everything that was fed until then must be counted.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);

/// Not a test of its own: what the child processes run.
#[test]
fn child() {
    run_child(job::topology);
}

/// All of them, or those whose name has `HEADWATER_FAULT` in it.
fn faults() -> impl Iterator<Item = &'static Fault> {
    let wanted = std::env::var("HEADWATER_FAULT").unwrap_or_default();
    FAULTS.iter().filter(move |fault| fault.name.contains(&wanted))
}

#[test]
fn nothing_is_lost_doubled_or_torn() {
    if std::env::var_os("HEADWATER_KAFKA").is_none() {
        println!("skipped: HEADWATER_KAFKA names no broker, so there may be none here");
        return;
    }
    let began = Instant::now();
    let broker = Broker::start();
    let job = Job::start(broker.config(), &support::unique("matrix"));
    let mut matrix = Matrix::new(broker, job);
    matrix.catches_up("the start", CAUGHT_UP_WITHIN * 2);
    std::thread::sleep(Duration::from_secs(5));
    let at_first = Usage::of(matrix.steady());
    for _ in 0..support::rounds() {
        for fault in faults() {
            (fault.strike)(&mut matrix);
            matrix.tend();
            let took = matrix.catches_up(fault.name, CAUGHT_UP_WITHIN);
            let (at, fed) = (began.elapsed(), matrix.fed());
            println!("{at:>6.1?} {:<45} caught up after {took:.1?}, {fed} fed", fault.name);
        }
    }
    let at_last = Usage::of(matrix.steady());
    println!("the instance that nobody touched: {at_first:?}, in the end {at_last:?}");
    let rounds = support::rounds();
    matrix.check(rounds);
    at_last.has_not_outgrown(&at_first);
    println!(
        "{} faults in {:.0?}: nothing lost, doubled or torn",
        rounds * faults().count(),
        began.elapsed()
    );
}
