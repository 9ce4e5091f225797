//! Neither uncommitted table entries nor records that wait for a slow agent exceed their memory
//! bounds, whatever goes wrong. `Simulation` itself checks after every turn.

use std::task::Poll;
use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::config::ByteSize;
use headwater::prelude::*;
use testkit::{Simulation, simulate};

fn input() -> Topic<String, String> {
    Topic::new("in")
}

fn keeping_all() -> headwater::Topology {
    let app = Builder::new("large");
    app.stream(&input())
        .group_by_key()
        .reduce(&Table::new("latest"), |_, latest| latest)
        .updates()
        .map(|key, value| (key, value.len() as u64))
        .to(&Topic::<String, u64>::new("lengths"));
    app.build().expect("valid")
}

/// Twelve megabytes of rows, with a commit interval long enough for all of them: it is the budget
/// of two megabytes that makes a worker commit.
#[test]
fn full_overlays_are_committed() {
    let summary = simulate(0..8, |seed| {
        Simulation::new(seed, keeping_all)
            .instances(1)
            .config(|config| {
                config.memory = ByteSize(16 << 20);
                config.commit_interval = Some(Duration::from_secs(30));
                config.transaction_timeout = Duration::from_secs(60);
            })
            .topic("in", 2)
            .topic("lengths", 2)
            .feed(&input(), 600, |_, n| Record::new(format!("key-{n}"), "x".repeat(20_000), 0))
    });
    println!("{}", summary.unwrap_or_else(|failure| panic!("{failure}")));
}

const RECORDS: u64 = 50_000;

fn slow() -> headwater::Topology {
    let app = Builder::new("slow");
    app.agent("slow", &input()).sends(&input_copy()).run(slowly);
    app.build().expect("valid")
}

fn input_copy() -> Topic<String, String> {
    Topic::new("lengths")
}

/// Spends a long time on its first records.
async fn slowly(mut records: Records<String, String>, cx: Context) -> AgentResult {
    let mut turns = 600_u32;
    while let Some(Record { key, value, .. }) = records.next().await {
        let mut left = turns;
        turns /= 2;
        std::future::poll_fn(|context| {
            left = left.saturating_sub(1);
            context.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        cx.send(&input_copy(), key, value)?;
    }
    Ok(())
}

/// This many records come at once, and the agent is slow: beyond 20,000 they wait in the log.
#[test]
fn records_wait_in_the_log() {
    let summary = simulate(0..4, |seed| {
        Simulation::new(seed, slow)
            .instances(1)
            .turns(2_000)
            .config(|config| {
                config.poll_records_max = 5_000;
                config.commit_interval = Some(Duration::from_secs(5));
                config.transaction_timeout = Duration::from_secs(60);
            })
            .topic("in", 1)
            .topic("lengths", 1)
            .feed(&input(), RECORDS, |_, n| Record::new(format!("key-{n}"), String::new(), 0))
            .check(|outcome| {
                assert_eq!(outcome.committed(&input_copy())?.len() as u64, RECORDS);
                Ok(())
            })
    });
    println!("{}", summary.unwrap_or_else(|failure| panic!("{failure}")));
}
