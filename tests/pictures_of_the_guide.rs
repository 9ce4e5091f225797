//! What the pictures in docs/guide/windows.md and joins.md show is what happens.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use headwater::prelude::*;
use testkit::TopologyTest;

const MINUTE: Duration = Duration::from_secs(60);

fn clicks() -> Topic<String, i64> {
    Topic::new("clicks")
}

fn texts() -> Topic<String, String> {
    Topic::new("texts")
}

fn at(minutes: i64) -> i64 {
    minutes * 60_000
}

/// A window and its count, in minutes.
fn shown(window: Windowed<String>, count: u64) -> (String, String) {
    let minutes = |time: i64| match time % 60_000 {
        0 => (time / 60_000).to_string(),
        millis => format!("{}+{millis}ms", time / 60_000),
    };
    (window.key, format!("{}-{}: {count}", minutes(window.start), minutes(window.end)))
}

/// The picture's clicks, at the minutes 1, 4, 6 and 14, and a later one that closes what is open.
fn click(app: Builder) -> Vec<String> {
    let mut test = TopologyTest::new(app.build().unwrap());
    for minutes in [1, 4, 6, 14, 60] {
        test.send_record(&clicks(), Record::new("ada".to_owned(), 1, at(minutes))).unwrap();
    }
    test.take(&texts()).unwrap().into_iter().map(|(_, text)| text).collect()
}

#[test]
fn tumbling() {
    let app = Builder::new("tumbling");
    app.stream(&clicks())
        .group_by_key()
        .window(Tumbling::of(5 * MINUTE))
        .count(&Table::new("clicks-in-five-minutes"))
        .closed()
        .map(shown)
        .to(&texts());
    assert_eq!(click(app), ["0-5: 2", "5-10: 1", "10-15: 1"]);
}

#[test]
fn hopping() {
    let app = Builder::new("hopping");
    app.stream(&clicks())
        .group_by_key()
        .window(Hopping::of(10 * MINUTE, 5 * MINUTE))
        .count(&Table::new("clicks-in-ten-minutes"))
        .closed()
        .map(shown)
        .to(&texts());
    assert_eq!(click(app), ["0-10: 3", "5-15: 2", "10-20: 1"]);
}

#[test]
fn sliding() {
    let app = Builder::new("sliding");
    app.stream(&clicks())
        .group_by_key()
        .window(Sliding::of(5 * MINUTE))
        .count(&Table::new("clicks-close-together"))
        .closed()
        .filter(|_, count| *count > 1)
        .map(shown)
        .to(&texts());
    assert_eq!(click(app), ["0-5: 2", "1-6: 3", "1+1ms-6+1ms: 2"]);
}

#[test]
fn session() {
    let app = Builder::new("session");
    app.stream(&clicks())
        .group_by_key()
        .window(Session::of(5 * MINUTE))
        .count(&Table::new("visits"))
        .closed()
        .map(shown)
        .to(&texts());
    assert_eq!(click(app), ["1-6: 3", "14-14: 1"]);
}

#[test]
fn updates() {
    let app = Builder::new("updates");
    app.stream(&clicks())
        .group_by_key()
        .window(Tumbling::of(5 * MINUTE))
        .count(&Table::new("clicks-in-five-minutes"))
        .updates()
        .map(shown)
        .to(&texts());
    assert_eq!(click(app), ["0-5: 1", "0-5: 2", "5-10: 1", "10-15: 1", "60-65: 1"]);
}

#[test]
fn grace() {
    let app = Builder::new("grace");
    app.stream(&clicks())
        .group_by_key()
        .window(Tumbling::of(5 * MINUTE).grace(2 * MINUTE))
        .count(&Table::new("clicks-in-five-minutes"))
        .closed()
        .map(shown)
        .to(&texts());
    let mut test = TopologyTest::new(app.build().unwrap());
    for minutes in [1, 6, 4, 7, 3] {
        test.send_record(&clicks(), Record::new("ada".to_owned(), 1, at(minutes))).unwrap();
    }
    assert_eq!(test.take(&texts()).unwrap(), [("ada".to_owned(), "0-5: 2".to_owned())]);
}

/// Orders and payments at the picture's minutes, each named by its minute, then one of each much
/// later.
fn paid(app: Builder, orders: &Topic<String, String>, pays: &Topic<String, String>) -> Vec<String> {
    let mut test = TopologyTest::new(app.build().unwrap());
    let mut send = |topic, text: &str, minutes| {
        test.send_record(topic, Record::new("ada".to_owned(), text.to_owned(), at(minutes)))
            .unwrap();
    };
    send(orders, "A", 0);
    send(pays, "x", 4);
    send(orders, "B", 10);
    send(pays, "y", 30);
    send(orders, "C", 60);
    send(pays, "z", 60);
    test.take(&texts()).unwrap().into_iter().map(|(_, text)| text).collect()
}

fn two_topics() -> (Topic<String, String>, Topic<String, String>) {
    (Topic::new("orders"), Topic::new("payments"))
}

#[test]
fn streams_are_joined() {
    let (orders, payments) = two_topics();
    let app = Builder::new("inner");
    app.stream(&orders)
        .join(
            app.stream(&payments),
            JoinWindows::within(5 * MINUTE),
            &JoinBuffers::json("orders-and-payments"),
            |_, order, payment| format!("{order}+{payment}"),
        )
        .to(&texts());
    assert_eq!(paid(app, &orders, &payments), ["A+x", "C+z"]);
}

#[test]
fn streams_are_left_joined() {
    let (orders, payments) = two_topics();
    let app = Builder::new("left");
    app.stream(&orders)
        .left_join(
            app.stream(&payments),
            JoinWindows::within(5 * MINUTE),
            &JoinBuffers::json("orders-and-payments"),
            |_, order, payment| format!("{order}+{}", payment.map_or("-", |text| text)),
        )
        .to(&texts());
    assert_eq!(paid(app, &orders, &payments), ["A+x", "B+-", "C+z"]);
}

#[test]
fn streams_are_outer_joined() {
    let (orders, payments) = two_topics();
    let app = Builder::new("outer");
    let text = |side: Option<&String>| side.cloned().unwrap_or("-".to_owned());
    app.stream(&orders)
        .outer_join(
            app.stream(&payments),
            JoinWindows::within(5 * MINUTE),
            &JoinBuffers::json("orders-and-payments"),
            move |_, order, payment| format!("{}+{}", text(order), text(payment)),
        )
        .to(&texts());
    assert_eq!(paid(app, &orders, &payments), ["A+x", "B+-", "-+y", "C+z"]);
}

/// Sends texts by key in turn, each a minute after the one before.
fn in_turn(app: Builder, steps: &[(&Topic<String, String>, &str, &str)]) -> Vec<String> {
    let mut test = TopologyTest::new(app.build().unwrap());
    for (minutes, (topic, key, text)) in steps.iter().enumerate() {
        let record = Record::new(key.to_string(), text.to_string(), at(minutes as i64));
        test.send_record(topic, record).unwrap();
    }
    test.take(&texts()).unwrap().into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_stream_is_joined_with_a_table() {
    let orders = Topic::new("orders");
    let addresses = Topic::new("addresses");
    let app = Builder::new("stream-table");
    let address = app.table(&addresses, &Table::new("addresses"));
    app.stream(&orders)
        .join_table(&address, |_, order, address| format!("{order} to {address}"))
        .to(&texts());
    let steps = [
        (&orders, "ada", "A"),
        (&addresses, "ada", "Rome"),
        (&orders, "ada", "B"),
        (&addresses, "ada", "Oslo"),
        (&orders, "ada", "C"),
    ];
    assert_eq!(in_turn(app, &steps), ["B to Rome", "C to Oslo"]);
}

#[test]
fn two_tables_are_joined() {
    let names = Topic::new("names");
    let addresses = Topic::new("addresses");
    let app = Builder::new("table-table");
    let name = app.table(&names, &Table::new("names"));
    let address = app.table(&addresses, &Table::new("addresses"));
    name.join(&address, |_, name, address| format!("{name}, {address}"))
        .to_stream()
        .flat_map_values(|label| label)
        .to(&texts());
    let steps = [
        (&names, "7", "Ada"),
        (&addresses, "7", "Rome"),
        (&addresses, "7", "Oslo"),
        (&names, "7", "Ada L."),
    ];
    assert_eq!(in_turn(app, &steps), ["Ada, Rome", "Ada, Oslo", "Ada L., Oslo"]);
}
