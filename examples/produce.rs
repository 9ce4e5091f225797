//! Producing: 100,000 keyed events as fast as possible, each acknowledged; then one more, with its
//! position.
//!
//! On Kafka they are compressed with lz4, and the producer is idempotent.
//!
//! `cargo run --release --example produce -- [--broker kafka://127.0.0.1:9092]`

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use headwater::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Event {
    number: u64,
    text: String,
}

const EVENTS: u64 = 100_000;

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let events = Topic::<String, Event>::json("example-produced");
    let client = headwater::client(&config)?;
    example_support::create_topic(&client, events.name(), 4)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;

    let mut writer = client.writer()?;
    let started = Instant::now();
    for number in 0..EVENTS {
        let event = Event { number, text: format!("event number {number}") };
        writer.send(&events, &format!("key-{}", number % 1_000), &event, now)?;
    }
    // Returns the first delivery error.
    writer.flush()?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{EVENTS} events acknowledged in {seconds:.2} s: {:.0}/s", EVENTS as f64 / seconds);

    let one = Event { number: EVENTS, text: "the last one".to_owned() };
    let place = writer.deliver(&events, &"key-0".to_owned(), &one, now)?;
    println!("one more: partition {}, offset {}", place.partition.partition, place.offset);
    Ok(())
}
