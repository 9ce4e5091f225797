//! Agents that wait as in real programs: with `select!`, with time-outs, for a slow call. Anything
//! lost or handled twice shows in their output.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater::agents::{AgentResult, Context, Records};
use headwater::agents::{Async, Call};
use headwater::prelude::*;

/// The output topics.
pub const OUTPUTS: [&str; 4] = ["selected", "timed", "slow", "called"];

type Numbers = Topic<u64, u64>;

pub fn topic(id: &str, name: &str) -> Numbers {
    Topic::new(format!("{id}-{name}"))
}

/// Between records it flushes, which takes longer than a tick, so that records come meanwhile.
async fn select(mut records: Records<u64, u64>, cx: Context, id: String) -> AgentResult {
    let out = topic(&id, "selected");
    let ticks = topic(&id, "ticks");
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                cx.send_at(&ticks, Record::new(0, 0, 1))?;
            }
            record = records.next() => {
                let Some(record) = record else { return Ok(()) };
                cx.send(&out, record.key, record.value)?;
            }
        }
    }
}

async fn time_out(mut records: Records<u64, u64>, cx: Context, id: String) -> AgentResult {
    let out = topic(&id, "timed");
    loop {
        if let Ok(Some(record)) =
            tokio::time::timeout(Duration::from_millis(3), records.next()).await
        {
            cx.send(&out, record.key, record.value)?;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Sends before it waits, too.
async fn dawdle(mut records: Records<u64, u64>, cx: Context, id: String) -> AgentResult {
    let out = topic(&id, "slow");
    let begun = topic(&id, "begun");
    while let Some(record) = records.next().await {
        cx.send(&begun, record.key, record.value)?;
        tokio::time::sleep(Duration::from_micros(500 + record.value % 7 * 300)).await;
        cx.send(&out, record.key, record.value)?;
    }
    Ok(())
}

async fn call(call: Call<u64, u64>) -> Result<u64, String> {
    tokio::time::sleep(Duration::from_millis(1 + call.record.value % 11)).await;
    let is_away = call.attempt == 1 && call.record.value.is_multiple_of(13);
    if is_away { Err("away".to_owned()) } else { Ok(call.record.value) }
}

pub fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = topic(id, "in");
    let with_id = id.to_owned();
    app.agent("select", &input)
        .sends(&topic(id, "selected"))
        .sends(&topic(id, "ticks"))
        .run(move |records, cx| select(records, cx, with_id.clone()));
    let with_id = id.to_owned();
    app.agent("time-out", &input)
        .sends(&topic(id, "timed"))
        .run(move |records, cx| time_out(records, cx, with_id.clone()));
    let with_id = id.to_owned();
    app.agent("dawdle", &input)
        .sends(&topic(id, "slow"))
        .sends(&topic(id, "begun"))
        .run(move |records, cx| dawdle(records, cx, with_id.clone()));
    let retry = headwater::errors::Backoff::fixed(Duration::from_millis(5));
    app.stream(&input)
        .map_async("call", Async::in_flight(16).retry(2, retry), call)
        .to(&topic(id, "called"));
    app.build().expect("valid")
}

pub fn create(client: &Client, id: &str) {
    for name in ["in", "ticks", "begun"].iter().chain(&OUTPUTS) {
        let topic = topic(id, name);
        client.create_topic_with(topic.name(), 2, &[("retention.ms", "-1")]).expect("created");
    }
}

/// How many records an output has so far.
pub fn handled(client: &Client, id: &str, output: &str, total: u64, within: Duration) -> u64 {
    let mut reader = client.reader(&topic(id, output)).expect("a reader");
    let mut seen = BTreeMap::new();
    let mut last = BTreeMap::new();
    let deadline = Instant::now() + within;
    while (seen.len() as u64) < total && Instant::now() < deadline {
        let Some(read) = reader.next(Duration::from_millis(100)).expect("reads") else { continue };
        let value = read.record.value;
        let times = seen.entry(value).or_insert(0);
        *times += 1;
        assert_eq!(*times, 1, "{output}: {value} was handled twice");
        let before = last.insert(read.partition, value);
        assert!(before < Some(value), "{output}: {value} came after {before:?}");
    }
    seen.len() as u64
}

/// Each output has each number once, in order; and there were ticks, records or not.
pub fn check(client: &Client, id: &str, total: u64) {
    for output in OUTPUTS.iter().chain(&["begun"]) {
        let seen = handled(client, id, output, total, Duration::from_secs(60));
        assert_eq!(seen, total, "{output}");
    }
    let mut ticks = client.reader(&topic(id, "ticks")).expect("a reader");
    assert!(ticks.next(Duration::from_secs(10)).expect("reads").is_some(), "there were ticks");
}

/// How often instances are killed.
pub fn kills() -> usize {
    std::env::var("HEADWATER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}
