//! Orders are written to a database in batches, one transaction each. After a crash between the
//! database's commit and ours a batch comes again. The record's id is the row's key, so that
//! changes nothing.
//!
//! `cargo run --release --example database_writer -- [--broker kafka://127.0.0.1:9092]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater::prelude::*;
use rusqlite::{Connection, params};

type Row = (String, String, i64);

/// One transaction; existing rows stay as they are.
fn insert(database: &Path, rows: &[Row]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(database)?;
    let transaction = connection.transaction()?;
    for (id, customer, cents) in rows {
        let sql = "INSERT INTO orders (id, customer, cents) VALUES (?1, ?2, ?3)
                   ON CONFLICT (id) DO NOTHING";
        transaction.execute(sql, params![id, customer, cents])?;
    }
    transaction.commit()
}

/// Asking for the next batch acknowledges this one: by then it is in the database.
async fn write(mut orders: Records<String, i64>, cx: Context, database: PathBuf) -> AgentResult {
    loop {
        let batch = orders.take(100, Duration::from_millis(200)).await;
        let ids = cx.ids()?.into_iter().map(|id| id.to_string());
        let rows: Vec<_> = ids.zip(batch).map(|(id, order)| (id, order.key, order.value)).collect();
        let database = database.clone();
        tokio::task::spawn_blocking(move || insert(&database, &rows)).await??;
    }
}

fn topology(orders: &Topic<String, i64>, database: &Path) -> example_support::Result<Topology> {
    let app = Builder::new("example-database-writer");
    let database = database.to_owned();
    app.agent("write", orders).run(move |orders, cx| write(orders, cx, database.clone()));
    Ok(app.build()?)
}

fn written(database: &Path) -> rusqlite::Result<(i64, i64)> {
    let sum = "SELECT count(*), coalesce(sum(cents), 0) FROM orders";
    Connection::open(database)?.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let orders = Topic::<String, i64>::new("example-stored-orders");
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("orders.sqlite");
    let table = "CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT, cents INTEGER)";
    Connection::open(&database)?.execute(table, [])?;

    let client = headwater::client(&config)?;
    example_support::create_topic(&client, orders.name(), 3)?;
    let mut writer = client.writer()?;
    // Twice: it is stopped in between, and resumes where it was.
    for round in 0..2_i64 {
        let running = example_support::start(topology(&orders, &database)?, &config);
        for number in 0..500 {
            let customer = format!("customer-{}", number % 7);
            writer.send(&orders, &customer, &(100 + number), 1 + 500 * round + number)?;
        }
        writer.flush()?;
        while written(&database)?.0 < 500 * (round + 1) && !running.has_failed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running.stop().await?;
    }
    let (rows, cents) = written(&database)?;
    println!("{rows} orders in the database, {cents} cents");
    Ok(())
}
