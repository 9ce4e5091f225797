//! Headwater in the race: jobs J1–J4 and J7, both guarantees, with the public API only.
//!
//! The environment says what to do: `BOOTSTRAP`, `APP_ID`, `STATE_DIR`, `GUARANTEE` (`eos`, `alo`),
//! `JOB`, `INPUT`, `OUTPUT`, for J7 `TABLE`; and, with Headwater's defaults, `THREADS`, `COMMIT_MS`
//! and `CLIENT` (`own`, `librdkafka`).

mod model;

use std::error::Error;
use std::time::Duration;

use headwater::Topology;
use headwater::codec::{Json, Text};
use headwater::config::{KafkaProperties, TableStorage, Transactions};
use headwater::prelude::*;
use model::{Customer, Enriched, Id, Order, Sales, Shipment, Total, Utf8};

fn env(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or(default.to_owned())
}

fn topology(job: &str) -> Result<Topology, Box<dyn Error>> {
    let app = Builder::new(env("APP_ID", "race"));
    let input = Topic::<Id, Order>::with(env("INPUT", "orders"), Utf8, Json);
    let output = env("OUTPUT", "out");
    let counts = Topic::<Id, u64>::with(output.clone(), Utf8, Text);
    let table = Table::<Id, u64>::with("counts", Utf8, headwater::codec::Bytes);
    match job {
        "J1" => app
            .stream(&input)
            .filter(|_, order| order.amount >= 1.0)
            .map_values(Shipment::from)
            .to(&Topic::with(output, Utf8, Json)),
        "J2" => app.stream(&input).group_by_key().count(&table).latest().to(&counts),
        "J3" => {
            let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
            app.stream(&input)
                .group_by_key()
                .window(minutes)
                .aggregate(&Table::with("sales", Utf8, Json), Total::default, Total::add)
                .closed()
                .map(Sales::of)
                .to(&Topic::with(output, Utf8, Json));
        }
        // The whole order travels through the repartition topic, as in Kafka Streams' `groupBy`.
        "J4" => app
            .stream(&input)
            .group_by(Repartition::new("by-customer", Utf8, Json), |_, order| {
                order.customer_id.clone()
            })
            .count(&table)
            .latest()
            .to(&counts),
        "J7" => {
            let customers = Topic::<Id, Customer>::with(env("TABLE", "customers"), Utf8, Json);
            let customers = app.table(&customers, &Table::with("customers", Utf8, Json));
            app.stream(&input)
                .left_join_table(&customers, Enriched::of)
                .to(&Topic::with(output, Utf8, Json));
        }
        other => return Err(format!("no job {other}").into()),
    }
    Ok(app.build()?)
}

fn config() -> Result<Config, Box<dyn Error>> {
    let guarantee = match env("GUARANTEE", "eos").as_str() {
        "alo" => Guarantee::AtLeastOnce,
        _ => Guarantee::ExactlyOnce,
    };
    // Any property that only librdkafka knows makes it fetch.
    let kafka = match env("CLIENT", "own").as_str() {
        "librdkafka" => KafkaProperties {
            transactions: Transactions::V1,
            consumer: [("check.crcs".to_owned(), "true".to_owned())].into(),
            ..KafkaProperties::default()
        },
        _ => KafkaProperties::default(),
    };
    let commit_interval = match env("COMMIT_MS", "").as_str() {
        "" => None,
        ms => Some(Duration::from_millis(ms.parse()?)),
    };
    Ok(Config {
        broker: format!("kafka://{}", env("BOOTSTRAP", "127.0.0.1:9092")),
        guarantee,
        commit_interval,
        state_dir: Some(env("STATE_DIR", "state").into()),
        tables: Some(TableStorage::Rocksdb),
        worker_threads: env("THREADS", "1").parse()?,
        kafka,
        ..Config::default()
    })
}

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter(env("RUST_LOG", "info")).with_ansi(false).init();
    let app = App::new(topology(&env("JOB", "J1"))?, config()?);
    Ok(app.run(shutdown_signal()).await?)
}
