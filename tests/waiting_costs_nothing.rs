//! An application that waits for input or for an agent uses no CPU time.

mod support;

use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::prelude::*;
use support::lab::{Lab, config, wait_for};
use testkit::faults::{Faults, TransportCall};

#[tokio::test(flavor = "multi_thread")]
async fn for_input() {
    let lab = Lab::new("idle", 4);
    let instance = lab.start("one");
    instance.runs().await;
    let fetches = TransportCall::Fetch;
    let commits = TransportCall::Commit;
    let before = (instance.faults.count(fetches), instance.faults.count(commits));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let fetched = instance.faults.count(fetches) - before.0;
    assert!(fetched <= 60, "{fetched} polls in a second");
    assert!(instance.faults.count(commits) - before.1 <= 1, "commits of nothing");
    instance.stop().await.expect("a graceful stop");
}

/// Is slow with every record.
async fn slowly(
    mut events: Records<String, u64>,
    cx: Context,
    out: Topic<String, u64>,
) -> AgentResult {
    while let Some(event) = events.next().await {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        cx.send(&out, event.key, event.value)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn for_an_agent() {
    let mut lab = Lab::new("slow-agent", 1);
    let builder = Builder::new("slow-agent");
    let out = lab.topic("copies");
    builder
        .agent("slow", &lab.topic("in"))
        .sends(&out)
        .run(move |events, cx| slowly(events, cx, out.clone()));
    let topology = builder.build().expect("valid");
    let faults = Faults::new();
    let instance = lab.start_topology(topology, "one", faults.clone(), config());
    instance.runs().await;
    let before = faults.count(TransportCall::Fetch);
    lab.feed(2, Duration::from_millis(10)).await;
    let copies = || lab.client.reader(&lab.topic("copies")).and_then(|mut read| read.read_to_end());
    wait_for("the copies", || copies().expect("reads").len() == 2).await;
    let fetched = faults.count(TransportCall::Fetch) - before;
    // Each record takes less than an agent may take, but both together take more.
    assert!(fetched < 400, "{fetched} polls within two seconds of waiting");
    instance.stop().await.expect("a graceful stop");
}
