//! A report by cron: the sales since the previous report. It is made once per application, however
//! many instances run, and no sale is in two reports.
//!
//! `cargo run --release --example nightly_report -- [--broker kafka://127.0.0.1:9092]`

use headwater::prelude::*;
use serde::{Deserialize, Serialize};

/// Every second, so that there is something to see. "0 0 3 * * *" would be three in the morning in
/// Berlin, also in the nights when clocks change.
const SCHEDULE: &str = "* * * * * *";

/// The sales of a category after `from` and up to `to`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    from: i64,
    to: i64,
    cents: u64,
}

fn topology(
    sales: &Topic<String, u64>,
    reports: &Topic<String, Line>,
) -> example_support::Result<Topology> {
    let app = Builder::new("example-report");
    let sold = Table::<String, u64>::new("sold");
    let reported = Table::<String, u64>::new("reported");
    // The report is one task and reads this table, so the repartition topic has one partition too.
    app.stream(sales)
        .group_by("by-category", |category, _| category.clone())
        .reduce(&sold, |sum, cents| sum + cents);
    let all = sold.clone();
    let before = reported.clone();
    app.cron("nightly", SCHEDULE, "Europe/Berlin")
        .missed(Missed::One)
        .process::<String, Line>("report")
        .reads(&sold)
        .table(&reported)
        .each(move |tick, cx| {
            for (category, sum) in cx.table(&all)?.entries()? {
                let mut reported = cx.table(&before)?;
                let cents = sum - reported.get(&category)?.unwrap_or(0);
                if cents > 0 {
                    reported.put(&category, &sum)?;
                    let Tick { previous: from, time: to } = tick.value;
                    cx.forward(Record::new(category, Line { from, to, cents }, to))?;
                }
            }
            Ok(())
        })
        .to(reports);
    Ok(app.build()?)
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let sales = Topic::<String, u64>::new("example-report-sales");
    let reports = Topic::<String, Line>::json("example-reports");
    let topology = topology(&sales, &reports)?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    example_support::create_topic(&client, sales.name(), 3)?;
    example_support::create_topic(&client, reports.name(), 1)?;
    let running = example_support::start(topology, &config);
    let mut writer = client.writer()?;
    for number in 0..1_000_u64 {
        let category = ["toys", "books", "tea"][number as usize % 3];
        writer.send(&sales, &category.to_owned(), &(number % 100), 1_000 + number as i64)?;
    }
    writer.flush()?;
    let total: u64 = (0..1_000).map(|number| number % 100).sum();

    let sum = |lines: &[Record<String, Line>]| lines.iter().map(|line| line.value.cents).sum();
    let lines = example_support::read_until(&client, &reports, |lines| sum(lines) >= total).await?;
    running.stop().await?;
    for Record { key, value: Line { from, to, cents }, .. } in lines.iter().take(3) {
        println!("{key}: {cents} cents in the {} ms before {to}", to - from);
    }
    let sum: u64 = sum(&lines);
    println!("{sum} of {total} cents reported");
    Ok(())
}
