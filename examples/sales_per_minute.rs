//! Sales per category and minute: each minute sent once, when it is complete.
//!
//! `cargo run --release --example sales_per_minute -- [--broker kafka://127.0.0.1:9092]`

use std::time::Duration;

use example_support::orders::{self, Order, Sales, clock, euros};
use headwater::prelude::*;

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let sales = Topic::<String, Order>::json("example-sales");
    let per_minute = Topic::<String, Sales>::json("example-sales-per-minute");

    // Sales up to ten seconds late still count. When no sale comes for a second, time advances
    // anyway.
    let minutes = Tumbling::of(Duration::from_secs(60))
        .grace(Duration::from_secs(10))
        .idle_after(Duration::from_secs(1));
    let app = Builder::new("example-sales-per-minute");
    app.stream(&sales)
        .group_by_key()
        .window(minutes)
        .aggregate(&Table::json("sales-by-minute"), Sales::default, Sales::add)
        .closed()
        .map(|window, sales| (format!("{} {}", clock(window.start), window.key), sales))
        .to(&per_minute);
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    example_support::create_topic(&client, sales.name(), 4)?;
    example_support::create_topic(&client, per_minute.name(), 4)?;
    // Five minutes of sales, and some much later ones that close them. The topic is keyed by
    // category. Grouping by another key would send a minute's sales through several unordered
    // partitions, and some would be late.
    orders::write_keyed(&client, &sales, 0..600, |sale| &sale.category)?;
    orders::write_keyed(&client, &sales, 2_000..2_040, |sale| &sale.category)?;

    let running = example_support::start(topology, &config);
    let all = |closed: &[Record<String, Sales>]| {
        closed.iter().map(|minute| minute.value.count).sum::<u64>() >= 600
    };
    let mut closed = example_support::read_until(&client, &per_minute, all).await?;
    running.stop().await?;
    closed.sort_by(|a, b| a.key.cmp(&b.key));
    for minute in &closed {
        let Sales { count, cents } = minute.value;
        println!("{:<14} {count:>4} sales {:>12}", minute.key, euros(cents));
    }
    Ok(())
}
