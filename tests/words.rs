//! The programs of docs/guide/coming_from.md do what their counterparts do.

use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::prelude::*;
use testkit::TopologyTest;

#[test]
fn count_words() {
    let words = Topic::<String, String>::new("words");
    let counts = Topic::<String, u64>::json("counts");
    let app = Builder::new("word-count");
    app.stream(&words)
        .group_by("by-word", |_, word| word.to_lowercase())
        .count(&Table::new("words-seen"))
        .to(&counts);
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send(&words, "k".into(), "Stream".into()).unwrap();
    test.send(&words, "l".into(), "stream".into()).unwrap();
    let expected = [("stream".to_owned(), 1), ("stream".to_owned(), 2)];
    assert_eq!(test.take(&counts).unwrap(), expected);
}

#[test]
fn sales_per_minute() {
    let minute = Duration::from_secs(60);
    let five_seconds = Duration::from_secs(5);
    let topic = Topic::<String, u64>::new("sales");
    let out = Topic::<String, u64>::new("per-minute");
    let app = Builder::new("sales");
    let sales = app.stream(&topic);
    sales
        .group_by_key()
        .window(Tumbling::of(minute).grace(five_seconds))
        .count(&Table::new("per-minute"))
        .closed()
        .select_key(|window, _| window.key.clone())
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for at in [1_000, 59_000, 64_999, 65_000] {
        test.send_record(&topic, Record::new("books".to_owned(), 7, at)).unwrap();
    }
    assert_eq!(test.take(&out).unwrap(), [("books".to_owned(), 2)]);
}

#[test]
fn enrich_a_stream() {
    let names = Topic::<u64, String>::new("names");
    let topic = Topic::<u64, String>::new("orders");
    let out = Topic::<u64, String>::new("out");
    let app = Builder::new("enrich");
    let customers = app.table(&names, &Table::new("customers"));
    let orders = app.stream(&topic);
    orders
        .left_join_table(&customers, |_, order, name| match name {
            Some(name) => format!("{order} for {name}"),
            None => order.clone(),
        })
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send(&topic, 7, "tea".into()).unwrap();
    test.send(&names, 7, "Ada".into()).unwrap();
    test.send(&topic, 7, "tea".into()).unwrap();
    assert_eq!(test.take(&out).unwrap(), [(7, "tea".to_owned()), (7, "tea for Ada".to_owned())]);
}

#[test]
fn two_streams_within_ten_seconds() {
    let ten_seconds = Duration::from_secs(10);
    let ads = Topic::<u64, u64>::new("ads");
    let clicks = Topic::<u64, u64>::new("clicks");
    let out = Topic::<u64, u64>::new("out");
    let app = Builder::new("clicks");
    let shown = app.stream(&ads);
    let clicked = app.stream(&clicks);
    shown
        .join(
            clicked,
            JoinWindows::within(ten_seconds),
            &JoinBuffers::json("shown-and-clicked"),
            |_, shown, clicked| shown + clicked,
        )
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send_record(&ads, Record::new(1, 100, 0)).unwrap();
    test.send_record(&clicks, Record::new(1, 1, 10_000)).unwrap();
    test.send_record(&clicks, Record::new(1, 2, 10_001)).unwrap();
    assert_eq!(test.take(&out).unwrap(), [(1, 101)]);
}

#[test]
fn visits() {
    let half_an_hour = Duration::from_secs(30 * 60);
    let clicks = Topic::<String, i64>::new("clicks");
    let out = Topic::<String, u64>::new("out");
    let app = Builder::new("visits");
    app.stream(&clicks)
        .group_by_key()
        .window(Session::of(half_an_hour))
        .count(&Table::new("visits"))
        .closed()
        .map(|visit, clicks| (visit.key, clicks))
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for minutes in [0, 30, 60, 91] {
        test.send_record(&clicks, Record::new("ada".to_owned(), 1, minutes * 60_000)).unwrap();
    }
    assert_eq!(test.take(&out).unwrap(), [("ada".to_owned(), 3)]);
}

#[test]
fn rows_of_a_table() {
    let topic = Topic::<String, i64>::new("stock");
    let out = Topic::<String, _>::new("out");
    let app = Builder::new("stock");
    let stock = app.table(&topic, &Table::new("stock"));
    stock.filter(|_, pieces| *pieces < 5).to_stream().to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for pieces in [9, 4, 8] {
        test.send(&topic, "tea".into(), pieces).unwrap();
    }
    let expected = [("tea".to_owned(), Some(4)), ("tea".to_owned(), None)];
    assert_eq!(test.take(&out).unwrap(), expected);
}

#[test]
fn reference_data_everywhere() {
    let rates = Topic::<String, i64>::new("rates");
    let topic = Topic::<u64, i64>::new("prices");
    let out = Topic::<u64, i64>::new("out");
    let app = Builder::new("prices");
    let rate = app.global_table(&rates, &Table::new("rates"));
    app.stream(&topic)
        .join_global(&rate, |_, _| "EUR".to_owned(), |_, price, rate| price * rate)
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send(&rates, "EUR".into(), 3).unwrap();
    test.send(&topic, 7, 5).unwrap();
    assert_eq!(test.take(&out).unwrap(), [(7, 15)]);
}

#[test]
fn join_tables_by_a_foreign_key() {
    let orders = Topic::<u64, String>::new("orders");
    let names = Topic::new("names");
    let labels = Table::<u64, String>::new("labels");
    let app = Builder::new("labels");
    let order = app.table(&orders, &Table::new("orders"));
    let name = app.table(&names, &Table::<String, String>::new("names"));
    order.fk_join(
        &name,
        &labels,
        |_, customer| Some(customer.clone()),
        |id, _, name| format!("{id} for {name}"),
    );
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send(&orders, 7, "c1".into()).unwrap();
    test.send(&names, "c1".into(), "Ada".into()).unwrap();
    assert_eq!(test.table(&labels, &7).unwrap().as_deref(), Some("7 for Ada"));
}

#[test]
fn a_processor() {
    let minute = Duration::from_secs(60);
    let last = Table::<String, i64>::new("last");
    let topic = Topic::<String, i64>::new("readings");
    let out = Topic::<String, i64>::new("out");
    let app = Builder::new("readings");
    let table = last.clone();
    let all = last.clone();
    app.stream(&topic)
        .process("every-minute")
        .table(&last)
        .on_stream_time(minute, move |at, cx| {
            for (sensor, value) in cx.table(&all)?.entries()? {
                cx.forward(Record::new(sensor, value, at))?;
            }
            Ok(())
        })
        .each(move |reading, cx| cx.table(&table)?.put(&reading.key, &reading.value))
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for (value, seconds) in [(1, 0), (2, 59), (3, 61)] {
        let reading = Record::new("door".to_owned(), value, seconds * 1_000);
        test.send_record(&topic, reading).unwrap();
    }
    assert_eq!(test.take(&out).unwrap(), [("door".to_owned(), 1), ("door".to_owned(), 3)]);
}

async fn process(
    mut orders: Records<u64, String>,
    cx: Context,
    shipments: Topic<u64, String>,
) -> AgentResult {
    while let Some(order) = orders.next().await {
        cx.send(&shipments, order.key, format!("shipped {}", order.value))?;
    }
    Ok(())
}

#[test]
fn an_agent() {
    let orders = Topic::new("orders");
    let shipments = Topic::new("shipments");
    let app = Builder::new("agent");
    let out = shipments.clone();
    app.agent("process", &orders)
        .sends(&shipments)
        .run(move |orders, cx| process(orders, cx, out.clone()));
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send(&orders, 7, "tea".into()).unwrap();
    assert_eq!(test.take(&shipments).unwrap(), [(7, "shipped tea".to_owned())]);
}
