//! Agents that use `select!`, time-outs and slow calls, and calls side by side, on a log in a
//! directory, killed with `kill -9` again and again: each record is handled, in order, once.
//!
//! `HEADWATER_KILLS` says how often; ten times by default.

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater::{Client, Config, TableStorage};
use support::child::{Instance, random_pause, run_child};
use support::waiting_agents::{check, create, kills, topic, topology};

/// Not a test of its own: what the child processes run.
#[test]
fn child() {
    run_child(topology);
}

#[test]
fn on_a_log_in_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config {
        broker: format!("embedded:{}", directory.path().join("log").display()),
        tables: Some(TableStorage::Memory),
        commit_interval: Some(Duration::from_millis(20)),
        ..Config::default()
    };
    let (id, total) = ("waiting", 400 * kills() as u64);
    // Opened by hand: it is closed before another process has it.
    let log = || embedded::LogOptions::default().open(directory.path().join("log")).expect("opens");
    {
        let client = Client::new(Arc::new(log()));
        create(&client, id);
        let mut writer = client.writer().expect("a writer");
        for value in 0..total {
            writer.send(&topic(id, "in"), &value, &value, 1 + value as i64).expect("fed");
        }
        writer.flush().expect("fed");
    }
    let mut instance = Instance::start(id, &config, &directory.path().join("state"));
    for _ in 0..kills() {
        std::thread::sleep(Duration::from_millis(250) + random_pause(Duration::from_millis(500)));
        assert!(instance.is_running(), "it ended by itself: {}", instance.log());
        instance.kill();
        instance.start_again();
    }
    // The log belongs to one process at a time: it has the time that it needs, and is looked at.
    std::thread::sleep(Duration::from_millis(5_000 + 3 * total));
    assert!(instance.stop(), "a graceful stop");
    let client = Client::new(Arc::new(log()));
    check(&client, id, total);
}
