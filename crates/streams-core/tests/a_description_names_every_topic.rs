//! `describe()` names every topic that an application reads, writes and creates.
#![allow(clippy::unwrap_used)]

use headwater::prelude::*;
use headwater::tables::GlobalTable;

fn topology() -> Topology {
    let app = Builder::new("shop");
    app.on_error(ErrorPolicy::dead_letter("shop-errors"));
    let rates: GlobalTable<String, i64> =
        app.global_table(&Topic::new("rates"), &Table::new("rate"));
    let orders = Topic::<String, i64>::new("orders");
    let skips = Topic::<String, i64>::new("returns").consumed().on_error(ErrorPolicy::Skip);
    app.stream(skips).to(&Topic::new("seen-returns"));
    app.stream(&orders)
        .join_global(&rates, |key, _| key.clone(), |_, cents, rate| cents * rate)
        .group_by("by-amount", |_, cents| cents.to_string())
        .count(&Table::new("amounts"))
        .to(&Topic::new("counts"));
    app.build().unwrap()
}

const TOPICS: [&str; 8] = [
    "orders",
    "returns",
    "seen-returns",
    "rates",
    "counts",
    "shop-errors",
    "shop-by-amount-repartition",
    "shop-amounts-changelog",
];

#[test]
fn as_text() {
    let text = topology().describe().to_string();
    for topic in TOPICS {
        assert!(text.contains(topic), "no {topic} in\n{text}");
    }
    let failed = "sends records of orders that fail to shop-errors, a dead-letter topic";
    for line in [
        failed,
        "skips records of returns that fail",
        "creates shop-by-amount-repartition, a repartition topic",
        "creates shop-amounts-changelog, the changelog of amounts",
        "global table rate of rates",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn as_a_graph() {
    let graph = topology().describe().mermaid();
    for topic in TOPICS {
        assert!(graph.contains(&format!("t_{topic}[({topic})]")), "no {topic} in\n{graph}");
    }
}
