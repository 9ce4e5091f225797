//! On a real broker too, agents that use `select!`, time-outs, slow calls and concurrent calls
//! handle each record once, in order, while their instances are killed with `kill -9`.
//!
//! `HEADWATER_KILLS` says how often; ten times by default.

mod support;

use std::time::Duration;

use headwater::Config;
use support::child::{Instance, random_pause, run_child};
use support::kafka;
use support::waiting_agents::{check, create, kills, topic, topology};

/// Not a test: the child processes run it.
#[test]
fn child() {
    run_child(topology);
}

#[test]
fn two_instances_on_kafka() {
    let Some((config, client)) = kafka() else { return };
    let config = Config { commit_interval: Some(Duration::from_millis(50)), ..config };
    let id = support::unique("waiting");
    create(&client, &id);
    let state = tempfile::tempdir().expect("a directory");
    let mut instances =
        [0, 1].map(|one: u8| Instance::start(&id, &config, &state.path().join(one.to_string())));
    let mut writer = client.writer().expect("a writer");
    let mut fed = 0_u64;
    let portion = 400;
    let mut feed = |count: u64| {
        for value in fed..fed + count {
            writer.send(&topic(&id, "in"), &value, &value, 1 + value as i64).expect("fed");
        }
        writer.flush().expect("fed");
        fed += count;
        fed
    };
    std::thread::sleep(Duration::from_secs(3));
    for kill in 0..kills() {
        feed(portion);
        std::thread::sleep(Duration::from_millis(300) + random_pause(Duration::from_millis(900)));
        let victim = &mut instances[kill % 2];
        assert!(victim.is_running(), "it ended by itself: {}", victim.log());
        victim.kill();
        victim.start_again();
    }
    let total = feed(portion);
    check(&client, &id, total);
    for instance in instances {
        assert!(instance.stop(), "a graceful stop");
    }
}
