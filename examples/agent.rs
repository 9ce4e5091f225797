//! Agents: `async` functions over a topic. One marks each event as processed and forwards it;
//! another counts events in a table.
//!
//! `cargo run --release --example agent -- [--broker kafka://127.0.0.1:9092]`

use std::time::{SystemTime, UNIX_EPOCH};

use headwater::prelude::*;
use serde_json::{Value, json};

type Events = Topic<String, Value>;

/// Adds two fields and sends the event on. Asking for the next event acknowledges this one.
async fn process(mut events: Records<String, Value>, cx: Context, out: Events) -> AgentResult {
    while let Some(Record { key, mut value, .. }) = events.next().await {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        value["processed"] = json!(true);
        value["processed_at"] = json!(now.as_millis() as u64);
        cx.send(&out, key, value)?;
    }
    Ok(())
}

/// Counts events per key; the table survives crashes and moves with its partition.
async fn count(
    mut events: Records<String, Value>,
    cx: Context,
    seen: Table<String, u64>,
    out: Topic<String, u64>,
) -> AgentResult {
    while let Some(event) = events.next().await {
        let times = cx.table(&seen).update(&event.key, |times| *times += 1)?;
        cx.send(&out, event.key, times)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let events = Events::json("example-events");
    let processed = Events::json("example-processed");
    let counts = Topic::<String, u64>::json("example-event-counts");
    let seen = Table::<String, u64>::new("events-seen");

    let app = Builder::new("example-agent");
    let out = processed.clone();
    app.agent("processor", &events)
        .sends(&processed)
        .run(move |events, cx| process(events, cx, out.clone()));
    let table = seen.clone();
    let out = counts.clone();
    app.agent("counter", &events)
        .writes(&seen)
        .sends(&counts)
        .run(move |events, cx| count(events, cx, table.clone(), out.clone()));
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    for topic in [events.name(), processed.name(), counts.name()] {
        example_support::create_topic(&client, topic, 3)?;
    }
    let mut writer = client.writer()?;
    for number in 0..100 {
        let key = format!("sensor-{}", number % 7);
        writer.send(&events, &key, &json!({ "reading": number }), 1_000 + number)?;
    }
    writer.flush()?;

    let running = example_support::start(topology, &config);
    let done = example_support::read_until(&client, &processed, |done| done.len() >= 100).await?;
    let counted =
        example_support::read_until(&client, &counts, |counted| counted.len() >= 100).await?;
    running.stop().await?;
    for event in done.iter().take(3) {
        println!("{}: {}", event.key, event.value);
    }
    println!("{} events processed, {} counted", done.len(), counted.len());
    Ok(())
}
