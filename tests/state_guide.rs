//! The programs of docs/guide/state.md do what it says.

use std::time::Duration;

use headwater::prelude::*;
use testkit::TopologyTest;

/// The fields of a payment: its account and its amount.
fn payments() -> Topic<String, i64> {
    Topic::new("payments")
}

fn texts() -> Topic<String, String> {
    Topic::new("texts")
}

fn minutes(minutes: i64) -> i64 {
    minutes * 60_000
}

/// Each id at most once in ten minutes.
#[test]
fn duplicates_are_dropped() {
    let requests = Topic::<String, String>::new("requests");
    let once = texts();
    let app = Builder::new("deduplicate");
    let seen = Table::<String, i64>::new("seen").ttl(Duration::from_secs(600));
    let table = seen.clone();
    app.stream(&requests)
        .process::<String, String>("once")
        .table(&seen)
        .each(move |request, cx| {
            let mut seen = cx.table(&table)?;
            if seen.get(&request.key)?.is_some() {
                return Ok(());
            }
            seen.put(&request.key, &request.timestamp)?;
            cx.forward(request)
        })
        .to(&once);
    let mut test = TopologyTest::new(app.build().unwrap());
    for at in [0, 3, 9, 10, 12] {
        let request = Record::new("id-7".to_owned(), format!("at {at}"), minutes(at));
        test.send_record(&requests, request).unwrap();
    }
    let texts: Vec<String> = test.take(&once).unwrap().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["at 0", "at 10"]);
}

/// A payment that is much larger than those of the account's last hour.
#[test]
fn the_last_hour_is_read() {
    let out = texts();
    let second = Duration::from_secs(1);
    let app = Builder::new("alarms");
    let per_minute = Table::<String, i64>::new("spent-per-minute");
    let windows = Tumbling::of(60 * second).retention(2 * 3_600 * second);
    app.stream(&payments()).group_by_key().window(windows).reduce(&per_minute, |a, b| a + b);
    let table = per_minute.clone();
    app.stream(&payments())
        .process::<String, String>("large")
        .reads(&per_minute)
        .each(move |payment, cx| {
            let hour = payment.timestamp - 3_600_000..=payment.timestamp;
            let mut spent = -payment.value;
            for minute in cx.table(&table)?.windows(&payment.key, hour)? {
                let (_window, sum) = minute?;
                spent += sum;
            }
            if payment.value <= 2 * spent {
                return Ok(());
            }
            let text = format!("{} after {spent}", payment.value);
            cx.forward(Record::new(payment.key, text, payment.timestamp))
        })
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for (at, amount) in [(0, 100), (50, 30), (70, 20), (90, 120)] {
        test.send_record(&payments(), Record::new("ann".into(), amount, minutes(at))).unwrap();
    }
    let texts: Vec<String> = test.take(&out).unwrap().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["100 after 0", "120 after 50"]);
}

/// The clicks of the session in which a user paid.
#[test]
fn the_session_of_a_payment_is_looked_up() {
    let clicks = Topic::<String, String>::new("clicks");
    let out = texts();
    let app = Builder::new("sessions");
    let visits = Table::<String, u64>::new("visits");
    let half_an_hour = Duration::from_secs(1_800);
    app.stream(&clicks).group_by_key().window(Session::of(half_an_hour)).count(&visits);
    let table = visits.clone();
    app.stream(&payments())
        .process::<String, String>("visit")
        .reads(&visits)
        .each(move |payment, cx| {
            let Record { key, value, timestamp } = payment;
            let recently = timestamp - 1_800_000..=timestamp;
            let mut visits = cx.table(&table)?;
            let clicks = match visits.windows(&key, recently)?.last().transpose()? {
                Some((_session, clicks)) => clicks,
                None => 0,
            };
            cx.forward(Record::new(key, format!("{value} after {clicks} clicks"), timestamp))
        })
        .to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for at in [0, 10, 20] {
        test.send_record(&clicks, Record::new("ann".into(), "page".into(), minutes(at))).unwrap();
    }
    for key in ["ann", "bob"] {
        test.send_record(&payments(), Record::new(key.into(), 5, minutes(25))).unwrap();
    }
    let texts: Vec<String> = test.take(&out).unwrap().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["5 after 3 clicks", "5 after 0 clicks"]);
}
