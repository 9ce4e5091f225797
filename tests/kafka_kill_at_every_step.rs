//! On a real broker: instances kill themselves, as by `kill -9`, at every named step of commit,
//! restore, rebalance and shutdown, under load. Nothing is lost or done twice, and every step was
//! reached.
//!
//! `HEADWATER_ROUNDS=20` goes through all of them 20 times; the default is once.
#![cfg(feature = "failpoints")]

mod support;

use std::time::{Duration, Instant};

use headwater::FAILPOINTS;
use headwater::config::Transactions;
use support::child::{Instance, run_child};
use support::counting::{Counting, Feeder, topology};
use support::kafka;

/// Not a test: the child processes run it.
#[test]
fn child() {
    run_child(topology);
}

fn ends_within(instance: &mut Instance, time: Duration) -> bool {
    let until = Instant::now() + time;
    while instance.is_running() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    !instance.is_running()
}

/// Has an instance kill itself at a step. Returns `false` if the step was not reached, for example
/// if it has no table to restore or nothing to give up.
fn kills_itself(
    victim: &mut Instance,
    failpoint: &str,
    times: u64,
    start: &impl Fn(&str) -> Instance,
) -> bool {
    victim.kill();
    victim.start_again_until(failpoint, times);
    // It gives something up only when others join or it leaves.
    let others = failpoint.starts_with("rebalance").then(|| {
        std::thread::sleep(Duration::from_millis(1_500));
        ["three", "four"].map(start)
    });
    if failpoint.starts_with("shutdown") {
        std::thread::sleep(Duration::from_millis(1_500));
        victim.ask_to_stop();
    }
    let has_ended = ends_within(victim, Duration::from_secs(8));
    victim.kill();
    victim.start_again();
    for other in others.into_iter().flatten() {
        std::thread::sleep(Duration::from_millis(500));
        // On a slow machine it may not be ready for a graceful stop yet.
        other.stop();
    }
    has_ended
}

#[test]
fn nothing_is_lost_or_done_twice() {
    let Some((config, client)) = kafka() else { return };
    let rounds = support::rounds();
    let job = Counting::new(support::unique("steps"), client);
    let id = job.id.clone();
    let state = tempfile::tempdir().expect("a directory");
    // Both transaction protocols, concurrently.
    let start = |name: &str| {
        let mut config = config.clone();
        let is_second = matches!(name, "two" | "four");
        config.kafka.transactions = if is_second { Transactions::V2 } else { Transactions::V1 };
        Instance::start(&id, &config, &state.path().join(name))
    };
    let mut instances = ["one", "two"].map(start);
    let feeder = Feeder::start(job, 400, 2_000);
    std::thread::sleep(Duration::from_secs(3));
    for round in 0..rounds {
        for (index, failpoint) in FAILPOINTS.iter().enumerate() {
            // Steps of a commit are reached many times a second; others once in a while.
            let is_frequent = failpoint.starts_with("commit");
            let times = if is_frequent { 1 + (round * 3 + index) as u64 % 16 } else { 1 };
            let reached = (0..6).any(|attempt| {
                let victim = &mut instances[(round + index + attempt) % 2];
                kills_itself(victim, failpoint, times, &start)
            });
            assert!(reached, "{failpoint} was not reached");
        }
    }
    let total = feeder.finish();
    println!("killed {rounds} times at each of {} steps, {total} records", FAILPOINTS.len());
    for instance in instances {
        assert!(instance.stop(), "a graceful stop");
    }
}
