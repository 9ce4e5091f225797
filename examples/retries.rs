//! Failed records are retried: a bank is unavailable for two seconds, and never accepts one of the
//! payments.
//!
//! `cargo run --release --example retries -- [--broker kafka://127.0.0.1:9092]`

use std::time::{Duration, Instant};

use headwater::prelude::*;

const PAYMENTS: i64 = 100;

/// A client of a bank, which could be a network client.
struct Bank {
    away_until: Instant,
}

impl Bank {
    fn pay(&self, account: &str, cents: i64) -> Result<String, String> {
        if Instant::now() < self.away_until {
            return Err("the bank is away".to_owned());
        }
        if cents == 1_313 {
            return Err(format!("the bank refuses {cents} from {account}"));
        }
        Ok(format!("{account} has paid {cents}"))
    }
}

fn topology(bank: Bank) -> Result<Topology, headwater::errors::BuildError> {
    let payments = Topic::<String, i64>::new("example-payments");
    // After 0.1 s, 0.2 s, 0.4 s, … and finally every second, each up to a quarter earlier.
    let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
    let policy = ErrorPolicy::retry(8, backoff)
        .hold_key()
        .then(ErrorPolicy::dead_letter("example-payments-dead"));

    let app = Builder::new("example-retries");
    app.stream(payments.consumed().on_error(policy))
        .try_map(move |account, cents| bank.pay(&account, cents).map(|paid| (account, paid)))
        .to(&Topic::<String, String>::new("example-paid"));
    app.build()
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let topology = topology(Bank { away_until: Instant::now() + Duration::from_secs(2) })?;
    print!("{}", topology.describe());

    let payments = Topic::<String, i64>::new("example-payments");
    let paid = Topic::<String, String>::new("example-paid");
    let dead = "example-payments-dead";
    let client = headwater::client(&config)?;
    for topic in [payments.name(), paid.name(), dead] {
        example_support::create_topic(&client, topic, 3)?;
    }
    let mut writer = client.writer()?;
    for number in 0..PAYMENTS {
        let cents = if number == 42 { 1_313 } else { 100 + number };
        writer.send(&payments, &format!("account-{}", number % 9), &cents, 1_000 + number)?;
    }
    writer.flush()?;

    let running = example_support::start(topology, &config);
    let expected = PAYMENTS as usize - 1;
    let paid = example_support::read_until(&client, &paid, |paid| paid.len() >= expected).await?;
    let dead = Topic::<String, i64>::new(dead);
    let dead = example_support::read_until(&client, &dead, |dead| !dead.is_empty()).await?;
    running.stop().await?;
    println!("{} paid, {} refused, none lost", paid.len(), dead.len());
    Ok(())
}
