//! An agent that adds up sales in a table. Every half second it sends the sums and starts over:
//! `select!` between its records and a timer.
//!
//! `cargo run --release --example periodic_flush -- [--broker kafka://127.0.0.1:9092]`

use std::time::Duration;

use headwater::agents::AgentError;
use headwater::prelude::*;

/// Sends the sums and removes them from the table. Both are committed together, when the agent
/// waits for records again.
fn flush(
    cx: &Context,
    sums: &Table<String, i64>,
    out: &Topic<String, i64>,
) -> Result<(), AgentError> {
    let rows: Vec<_> = cx.table(sums).range(..)?.collect::<Result<_, _>>()?;
    for (shop, sum) in rows {
        cx.table(sums).delete(&shop)?;
        cx.send_at(out, Record::new(shop, sum, 1))?;
    }
    Ok(())
}

/// Sums between two flushes are in a table: a variable would be lost with the task.
async fn add_up(
    mut sales: Records<String, i64>,
    cx: Context,
    sums: Table<String, i64>,
    out: Topic<String, i64>,
) -> AgentResult {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = tick.tick() => flush(&cx, &sums, &out)?,
            record = sales.next() => {
                let Some(sale) = record else { return Ok(()) };
                cx.table(&sums).update(&sale.key, |sum| *sum += sale.value)?;
            }
        }
    }
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let sales = Topic::<String, i64>::new("example-flushed-sales");
    let flushed = Topic::<String, i64>::new("example-flushed-sums");
    let sums = Table::<String, i64>::new("flushed-sums");

    let app = Builder::new("example-periodic-flush");
    let table = sums.clone();
    let out = flushed.clone();
    app.agent("add-up", &sales)
        .writes(&sums)
        .sends(&flushed)
        .run(move |sales, cx| add_up(sales, cx, table.clone(), out.clone()));
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    for topic in [sales.name(), flushed.name()] {
        example_support::create_topic(&client, topic, 2)?;
    }
    let running = example_support::start(topology, &config);
    let mut writer = client.writer()?;
    for cents in 0..300_i64 {
        writer.send(&sales, &format!("shop-{}", cents % 7), &cents, 1 + cents)?;
        writer.flush()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let total = |sums: &[Record<String, i64>]| sums.iter().map(|sum| sum.value).sum::<i64>();
    let enough = |sums: &[Record<String, i64>]| total(sums) >= 300 * 299 / 2;
    let all = example_support::read_until(&client, &flushed, enough).await?;
    running.stop().await?;
    println!("{} cents in {} sums of 7 shops", total(&all), all.len());
    Ok(())
}
