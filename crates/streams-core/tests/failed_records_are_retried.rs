//! A failed record waits in a table of its task and is retried when it is due, unchanged. What it
//! did before it failed is undone each time, and its outcome happens once, whatever crashes and
//! whatever the date is set to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_streams_core::{
    Backoff, Builder, ErrorPolicy, Headers, OwnedRecord, ProcessError, Record, Retry, Table, Topic,
    Topology, Tumbling,
};
use headwater_testkit::TopologyTest;

const SECOND: Duration = Duration::from_secs(1);
const NOON: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

/// Each record says until when the service that it needs is away.
fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

fn three_times() -> Retry {
    ErrorPolicy::retry(3, Backoff::fixed(SECOND))
}

/// Counts a record before it fails, to reveal leftovers of an attempt.
fn topology(policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    app.on_error(policy);
    let stream = app.stream(&input()).shared();
    let counts = stream.clone().group_by_key().count(&Table::new("counts"));
    counts.updates().map_values(|count| count as i64).to(&Topic::new("counted"));
    stream
        .process::<String, i64>("call")
        .each(|record, context| match record.value {
            -1 => panic!("minus one"),
            until if context.now() < until => Err(ProcessError::new("away")),
            _ => context.forward(record),
        })
        .to(&output());
    app.build().expect("valid")
}

fn send(test: &mut TopologyTest, key: &str, until: i64) {
    test.send(&input(), key.to_owned(), until).expect("processed");
}

fn taken(test: &mut TopologyTest, topic: &str) -> Vec<(String, i64)> {
    test.take(&Topic::new(topic)).expect("decodes")
}

fn of(entries: &[(&str, i64)]) -> Vec<(String, i64)> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

fn header(record: &OwnedRecord, name: &str) -> String {
    String::from_utf8_lossy(record.headers.last(name).flatten().unwrap_or(b"-")).into_owned()
}

#[test]
fn a_record_is_retried_after_its_wait_and_others_continue() {
    let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Fail)));
    test.advance(Duration::from_millis(500)).expect("runs");
    send(&mut test, "a", 2_000);
    send(&mut test, "a", 0);
    send(&mut test, "b", 0);
    assert_eq!(taken(&mut test, "out"), of(&[("a", 0), ("b", 0)]));
    assert_eq!(taken(&mut test, "counted"), of(&[("a", 1), ("b", 1)]));
    let metrics = test.metrics();
    assert_eq!((metrics.processed, metrics.retries, metrics.waiting), (3, 0, 1));
    let failed = "record at in-0 offset 0: call: away (attempt 1 of 4, the next one in 1s)";
    assert_eq!(test.failed(), [failed]);

    test.advance(Duration::from_millis(999)).expect("runs");
    assert_eq!(test.metrics().retries, 0, "too early");
    test.advance(Duration::from_millis(1)).expect("runs");
    assert_eq!((test.metrics().retries, test.metrics().waiting), (1, 1));
    test.advance(SECOND).expect("runs");
    assert_eq!((test.metrics().retries, test.metrics().waiting), (2, 0));
    assert_eq!(taken(&mut test, "out"), of(&[("a", 2_000)]));
    assert_eq!(taken(&mut test, "counted"), of(&[("a", 2)]), "failed attempts left nothing");
    assert_eq!(test.metrics().processed, 3, "a record is counted once");
    test.advance(60 * SECOND).expect("runs");
    assert!(taken(&mut test, "out").is_empty(), "it is done once");
    assert!(test.take_raw("t-in-retries-changelog").iter().any(|row| row.value.is_some()));
}

#[test]
fn a_retried_record_is_unchanged() {
    let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Fail)));
    let mut headers = Headers::new();
    headers.push("trace", Some(b"7"));
    headers.push("none", None);
    let value = Some(1_000_i64.to_be_bytes()[..].into());
    let key = Some(b"k"[..].into());
    let timestamp = 77;
    let record = OwnedRecord { offset: 0, timestamp, key, value, headers };
    test.send_raw("in", record.clone()).expect("processed");
    test.crash().expect("restores");
    assert!(test.take_raw("out").is_empty());
    test.advance(SECOND).expect("runs");
    assert_eq!(test.take_raw("out"), [record]);
}

#[test]
fn after_the_last_attempt_the_next_policy_decides() {
    for value in [-1, i64::MAX] {
        let policy = three_times().then(ErrorPolicy::dead_letter("dead"));
        let mut test = TopologyTest::new(topology(policy));
        send(&mut test, "a", value);
        (0..2).for_each(|_| test.advance(SECOND).expect("runs"));
        assert!(test.take_raw("dead").is_empty());
        test.advance(SECOND).expect("runs");
        let dead = test.take_raw("dead");
        assert_eq!(dead.len(), 1);
        assert_eq!(header(&dead[0], "headwater.attempts"), "4");
        let kind = if value == -1 { "Panic" } else { "User" };
        let exception = header(&dead[0], "__streams.errors.exception");
        assert_eq!(exception, format!("headwater::Cause::{kind}"));
        assert!(header(&dead[0], "__streams.errors.message").contains("attempt 4 of 4, the last"));
        assert_eq!(header(&dead[0], "__streams.errors.offset"), "0");
        let metrics = test.metrics();
        assert_eq!((metrics.retries, metrics.waiting, metrics.dead_lettered), (3, 0, 1));
        assert!(taken(&mut test, "counted").is_empty());
    }
}

#[test]
fn skip_and_fail_come_after_the_last_attempt_too() {
    let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Skip)));
    send(&mut test, "a", i64::MAX);
    (0..3).for_each(|_| test.advance(SECOND).expect("runs"));
    assert_eq!((test.metrics().skipped, test.metrics().waiting), (1, 0));

    let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Fail)));
    send(&mut test, "a", i64::MAX);
    send(&mut test, "b", 0);
    (0..2).for_each(|_| test.advance(SECOND).expect("runs"));
    let error = test.advance(SECOND).expect_err("the last attempt").to_string();
    assert!(error.contains("record at in-0 offset 0: call: away (attempt 4 of 4, the last"));
    assert_eq!(taken(&mut test, "out"), of(&[("b", 0)]));
}

#[test]
fn permanent_errors_are_not_retried_and_codec_errors_only_on_request() {
    let dead = || ErrorPolicy::dead_letter("dead");
    let raw = |value: &[u8], timestamp| OwnedRecord {
        key: Some(b"k"[..].into()),
        value: Some(value.into()),
        timestamp,
        ..OwnedRecord::default()
    };
    let mut test = TopologyTest::new(topology(three_times().then(dead())));
    test.send_raw("in", raw(b"short", 1)).expect("processed");
    test.send_raw("in", raw(&1_i64.to_be_bytes(), -1)).expect("processed");
    let letters = test.take_raw("dead");
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| header(letter, "headwater.attempts") == "1"));

    let policy = three_times().with_codec_errors().then(dead());
    let mut test = TopologyTest::new(topology(policy));
    test.send_raw("in", raw(b"short", 1)).expect("processed");
    assert_eq!(test.metrics().waiting, 1);
    (0..3).for_each(|_| test.advance(SECOND).expect("runs"));
    assert_eq!(header(&test.take_raw("dead")[0], "headwater.attempts"), "4");
}

#[test]
fn waits_follow_the_backoff() {
    let backoff = Backoff::exponential(SECOND, 4 * SECOND).jitter(0);
    let policy = ErrorPolicy::retry(5, backoff).then(ErrorPolicy::Skip);
    let mut test = TopologyTest::new(topology(policy));
    send(&mut test, "a", i64::MAX);
    let mut attempts = Vec::new();
    for second in 1..20 {
        let before = test.metrics().retries;
        test.advance(SECOND).expect("runs");
        attempts.extend((test.metrics().retries > before).then_some(second));
    }
    assert_eq!(attempts, [1, 3, 7, 11, 15]);
}

#[test]
fn without_a_pause_it_is_retried_at_once() {
    let policy = ErrorPolicy::retry(3, Backoff::fixed(Duration::ZERO)).then(ErrorPolicy::Skip);
    let mut test = TopologyTest::new(topology(policy));
    test.advance(SECOND).expect("runs");
    send(&mut test, "a", i64::MAX);
    let metrics = test.metrics();
    assert_eq!((metrics.retries, metrics.skipped, metrics.waiting), (3, 1, 0));
}

#[test]
fn a_wait_continues_after_a_crash_and_while_no_instance_runs() {
    for eighths in [0, 3, 8] {
        let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Fail)));
        send(&mut test, "a", 600);
        test.advance(Duration::from_millis(700)).expect("runs");
        test.crash_keeping(eighths).expect("restores");
        assert_eq!(test.metrics().waiting, 1);
        test.advance(Duration::from_millis(299)).expect("runs");
        assert!(taken(&mut test, "out").is_empty());
        test.advance(Duration::from_millis(1)).expect("runs");
        assert_eq!(taken(&mut test, "out"), of(&[("a", 600)]));
        test.crash_keeping(eighths).expect("restores");
        assert_eq!(test.metrics().waiting, 0);
        test.advance(60 * SECOND).expect("runs");
        assert!(taken(&mut test, "out").is_empty());
    }
}

#[test]
fn an_aborted_attempt_is_repeated() {
    let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Fail)));
    send(&mut test, "a", 1_000);
    send(&mut test, "a", 0);
    let mut aborts = 2;
    test.abort_when(move |_| {
        aborts -= 1;
        aborts >= 0
    });
    test.advance(SECOND).expect("runs");
    assert_eq!(taken(&mut test, "out"), of(&[("a", 0), ("a", 1_000)]));
    assert_eq!(taken(&mut test, "counted"), of(&[("a", 1), ("a", 2)]));
}

#[test]
fn setting_the_date_during_a_run_changes_no_wait() {
    for date in [NOON - HOUR, NOON + HOUR, 0] {
        let mut test = at_noon();
        send(&mut test, "a", i64::MAX);
        test.set_date(date).expect("runs");
        test.advance(Duration::from_millis(999)).expect("runs");
        assert_eq!(test.metrics().retries, 0, "{date}");
        test.advance(Duration::from_millis(1)).expect("runs");
        assert_eq!(test.metrics().retries, 1, "{date}");
    }
}

#[test]
fn setting_the_date_back_between_two_runs_costs_one_wait() {
    for date in [NOON - HOUR, NOON + 100, 0] {
        let mut test = at_noon();
        send(&mut test, "a", i64::MAX);
        test.advance(Duration::from_millis(300)).expect("runs");
        test.set_date(date).expect("runs");
        test.crash().expect("restores");
        test.advance(SECOND).expect("runs");
        assert_eq!(test.metrics().retries, 1, "{date}");
    }
    let mut test = at_noon();
    send(&mut test, "a", i64::MAX);
    test.set_date(NOON + HOUR).expect("runs");
    test.crash().expect("restores");
    assert_eq!(test.metrics().retries, 1, "as far as the task knows, it is an hour later");
}

fn at_noon() -> TopologyTest {
    let mut test = TopologyTest::new(topology(three_times().then(ErrorPolicy::Fail)));
    test.set_date(NOON).expect("runs");
    test.crash().expect("starts at noon");
    test
}

#[test]
fn a_record_that_is_too_large_to_wait_fails_at_once_with_the_reason() {
    let policy = three_times().then(ErrorPolicy::dead_letter("dead"));
    let mut test = TopologyTest::new(topology(policy));
    test.max_message_bytes("t-in-retries-changelog", 250);
    send(&mut test, &"k".repeat(20), 1_000);
    assert_eq!(test.metrics().waiting, 1);
    send(&mut test, &"k".repeat(200), 1_000);
    let dead = test.take_raw("dead");
    assert_eq!(dead.len(), 1);
    assert_eq!(header(&dead[0], "headwater.attempts"), "1");
    let message = header(&dead[0], "__streams.errors.message");
    assert!(message.starts_with("call: away; and it cannot be stored for a retry: "), "{message}");
    assert!(message.contains("the table in-retries") && message.contains("250"), "{message}");
    test.advance(SECOND).expect("runs");
    assert_eq!(taken(&mut test, "out"), of(&[(&"k".repeat(20), 1_000)]));
}

#[test]
fn a_record_may_be_too_late_for_its_windows_by_then() {
    let app = Builder::new("t");
    app.on_error(three_times().then(ErrorPolicy::Fail));
    let tries = AtomicU32::new(0);
    app.stream(&input())
        .try_map_values(move |number| match number {
            2 if tries.fetch_add(1, Ordering::Relaxed) == 0 => Err("at first"),
            _ => Ok(number),
        })
        .group_by_key()
        .window(Tumbling::of(SECOND))
        .count(&Table::new("counts"))
        .closed()
        .map(|window, count| (window.key, count as i64))
        .to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (number, at) in [(1, 100), (2, 200), (3, 1_500)] {
        let record = Record::new("a".to_owned(), number, at);
        test.send_record(&input(), record).expect("processed");
    }
    assert_eq!(taken(&mut test, "out"), of(&[("a", 1)]), "the window does not wait");
    test.advance(SECOND).expect("runs");
    assert_eq!((test.metrics().waiting, test.metrics().dropped_late), (0, 1));
}

#[test]
fn records_of_a_repartition_topic_are_retried_too() {
    let app = Builder::new("t");
    app.on_error(three_times().then(ErrorPolicy::Skip));
    let tries = AtomicU32::new(0);
    app.stream(&input())
        .repartition("again")
        .try_map_values(move |value: i64| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("at first"),
            _ => Ok(value),
        })
        .to(&output());
    let topology = app.build().expect("valid");
    let shape = topology.shape();
    for line in [
        "table in-retries of records to be tried again, from in",
        "table again-repartition-retries of records to be tried again, from t-again-repartition",
    ] {
        assert!(shape.contains(line), "{shape:?}");
    }
    let text = topology.describe().to_string();
    assert!(text.contains("retries records of t-again-repartition that fail, 3 times\n"));
    assert!(text.contains("creates t-again-repartition-retries-changelog"), "{text}");
    let mut test = TopologyTest::new(topology);
    send(&mut test, "a", 7);
    assert!(taken(&mut test, "out").is_empty());
    test.advance(SECOND).expect("runs");
    assert_eq!(taken(&mut test, "out"), of(&[("a", 7)]));
}

fn problems(app: Builder) -> String {
    app.build().map(drop).expect_err("refused").to_string()
}

fn consumer(policy: ErrorPolicy) -> Builder {
    let app = Builder::new("t");
    app.stream(input().consumed().on_error(policy)).to(&output());
    app
}

#[test]
fn senseless_retries_are_refused() {
    let none = ErrorPolicy::retry(0, Backoff::fixed(SECOND)).then(ErrorPolicy::Skip);
    assert!(problems(consumer(none)).contains("the error policy of in retries records 0 times"));
    let twice = three_times().then(three_times().then(ErrorPolicy::Skip));
    assert!(problems(consumer(twice)).contains("has a retry after a retry"));
    let back = three_times().then(ErrorPolicy::dead_letter("in"));
    assert!(problems(consumer(back)).contains("the dead-letter topic in is consumed"));

    let app = consumer(three_times().then(ErrorPolicy::Skip));
    app.stream(&Topic::<String, i64>::new("other"))
        .group_by_key()
        .count(&Table::new("in-retries"))
        .to(&Topic::new("counts"));
    let text = problems(app);
    assert!(text.contains("the table in-retries has two writers"), "{text}");
    assert!(text.contains("the retries of in"), "{text}");

    let app = Builder::new("t");
    let policy = three_times().then(ErrorPolicy::Skip);
    let rows = app.global_table(input().consumed_rows().on_error(policy), &Table::new("rows"));
    app.stream(&output())
        .join_global(&rows, |_, key| key.to_string(), |_, _, row| *row)
        .to(&Topic::new("joined"));
    assert!(problems(app).contains("the global table rows cannot have its records tried again"));
}
