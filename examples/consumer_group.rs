//! A group of three members on a topic with six partitions: the assignment, as one member leaves
//! and comes back.
//!
//! `cargo run --release --example consumer_group -- [--broker kafka://127.0.0.1:9092]`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use example_support::RunningApp;
use headwater::Topology;
use headwater::prelude::*;
use headwater::status::TaskState;

const PARTITIONS: i32 = 6;

fn topology() -> example_support::Result<Topology> {
    let app = Builder::new("example-group");
    let input = Topic::<String, String>::new("example-group-in");
    app.stream(&input).to(&Topic::new("example-group-out"));
    Ok(app.build()?)
}

/// The partitions that a member owns and processes.
fn partitions(member: &RunningApp) -> BTreeSet<i32> {
    let status = member.status.snapshot();
    let running = status.tasks.values().filter(|task| task.state == TaskState::Running);
    running.flat_map(|task| task.inputs.iter().map(|input| input.partition)).collect()
}

/// Waits until every partition has exactly one owner and the members own about equally many.
async fn settle(members: &[RunningApp], what: &str) -> example_support::Result {
    let deadline = Instant::now() + Duration::from_secs(60);
    let fair = PARTITIONS as usize / members.len();
    loop {
        let owned: Vec<_> = members.iter().map(partitions).collect();
        let total: usize = owned.iter().map(BTreeSet::len).sum();
        let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
        let even = owned.iter().all(|one| one.len().abs_diff(fair) <= 1);
        if all.len() == PARTITIONS as usize && total == all.len() && even {
            println!("{what}: each of {PARTITIONS} partitions has exactly one owner");
            for (number, partitions) in owned.iter().enumerate() {
                println!("  member {number}: {partitions:?}");
            }
            return Ok(());
        }
        if members.iter().any(RunningApp::has_failed) || Instant::now() > deadline {
            return Err(format!("{what}: not settled: {owned:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let client = headwater::client(&config)?;
    example_support::create_topic(&client, "example-group-in", PARTITIONS)?;
    example_support::create_topic(&client, "example-group-out", PARTITIONS)?;

    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(example_support::start(topology()?, &config));
    }
    settle(&members, "three members").await?;

    members.remove(0).stop().await?;
    settle(&members, "one has left").await?;

    members.push(example_support::start(topology()?, &config));
    settle(&members, "one has come").await?;

    for member in members {
        member.stop().await?;
    }
    Ok(())
}
