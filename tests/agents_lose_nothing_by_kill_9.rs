//! Agents that use `select!`, time-outs, slow calls and concurrent calls, on a log in a directory,
//! are killed with `kill -9` again and again. Each record is handled once, in order.
//!
//! `HEADWATER_KILLS` says how often; ten times by default.

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater::Config;
use headwater::client::Client;
use headwater::config::TableStorage;
use support::child::{Instance, random_pause, run_child};
use support::waiting_agents::{check, create, kills, topic, topology};

/// Not a test: the child processes run it.
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
    let id = "waiting";
    let total = 400 * kills() as u64;
    // Opened directly, so that it is closed before another process opens it.
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
    // The log belongs to one process at a time: let the child work, kill it, then check the log.
    std::thread::sleep(Duration::from_millis(5_000 + 3 * total));
    assert!(instance.stop(), "a graceful stop");
    let client = Client::new(Arc::new(log()));
    check(&client, id, total);
}
