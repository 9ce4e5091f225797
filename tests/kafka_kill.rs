//! On a real broker nothing is lost or done twice when instances are killed with `kill -9` at
//! random moments, again and again. A killed instance works again within seconds.

mod support;

use std::time::{Duration, Instant};

use support::child::{Instance, random_pause, run_child};
use support::counting::{Counting, topology};
use support::kafka;

/// Not a test: the child processes run it.
#[test]
fn child() {
    run_child(topology);
}

#[test]
fn nothing_is_lost_or_done_twice_by_kill_9() {
    let Some((config, client)) = kafka() else { return };
    let job = Counting::new(support::unique("kill"), client);
    let state = tempfile::tempdir().expect("a directory");
    let mut instances = [1, 2]
        .map(|number| Instance::start(&job.id, &config, &state.path().join(number.to_string())));

    let total = 60_000;
    let mut kills = 0;
    let mut next_kill = Instant::now() + Duration::from_secs(4);
    job.feed(0..total, 3_000, |_| {
        if Instant::now() >= next_kill {
            let victim = &mut instances[kills % 2];
            assert!(victim.is_running(), "an instance ended by itself");
            victim.kill();
            victim.start_again();
            kills += 1;
            next_kill =
                Instant::now() + Duration::from_millis(500) + random_pause(Duration::from_secs(1));
        }
    });
    assert!(kills >= 8, "only {kills} kills");
    job.check(total, Duration::from_secs(60));
    for instance in instances {
        assert!(instance.stop(), "a graceful stop");
    }
}

#[test]
fn a_fenced_instance_writes_nothing_visible() {
    let Some((config, client)) = kafka() else { return };
    let config = headwater::Config { session_timeout: Duration::from_secs(6), ..config };
    let job = Counting::new(support::unique("zombie"), client);
    let state = tempfile::tempdir().expect("a directory");
    let start = |name: &str| Instance::start(&job.id, &config, &state.path().join(name));
    let mut zombie = start("zombie");
    job.feed(0..6_000, 3_000, |_| ());
    let mut successor = start("successor");
    job.feed(6_000..12_000, 3_000, |_| ());
    zombie.freeze();
    // Long enough for its session and its transaction to end; the successor takes over.
    job.feed(12_000..57_000, 3_000, |_| ());
    zombie.thaw();
    job.feed(57_000..75_000, 3_000, |_| ());
    job.check(75_000, Duration::from_secs(60));
    assert!(zombie.is_running() && successor.is_running());
}

#[test]
fn instances_join_and_leave_under_load() {
    let Some((config, client)) = kafka() else { return };
    let job = Counting::new(support::unique("joins"), client);
    let state = tempfile::tempdir().expect("a directory");
    let start =
        |number: u64| Instance::start(&job.id, &config, &state.path().join(number.to_string()));
    let mut instances = vec![start(0)];
    let mut started = 1;
    job.feed(0..60_000, 3_000, |value| {
        let step = value / 6_000;
        if step % 2 == 1 && started == step / 2 + 1 {
            instances.push(start(started));
            started += 1;
        } else if step % 2 == 0 && step > 0 && instances.len() > 2 {
            assert!(instances.remove(0).stop(), "a graceful stop");
        }
    });
    assert!(started >= 4, "only {started} instances were started");
    job.check(60_000, Duration::from_secs(60));
}
