//! A record that its topic would refuse, and a table entry that its changelog would refuse, are
//! errors of the record that caused them. The source's policy decides, and the error says what is
//! too large and where. A test's log behaves like a broker with the same limits.

use headwater_streams_core::agent::{AgentResult, Context, Records};
use headwater_streams_core::{
    Builder, ErrorPolicy, MAX_MESSAGE_BYTES, Record, Table, Topic, Topology, Tumbling, record_bytes,
};
use headwater_testkit::TopologyTest;
use std::time::Duration;

type Text = Topic<String, String>;

fn input() -> Text {
    Topic::new("in")
}

fn output() -> Text {
    Topic::new("out")
}

/// Makes a text as long as its record's value says.
fn inflating(policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    app.on_error(policy);
    app.stream(&Topic::<String, u32>::new("in"))
        .map_values(|length| "x".repeat(length as usize))
        .to(&output());
    app.build().expect("valid")
}

fn send(test: &mut TopologyTest, length: usize) -> Result<(), String> {
    let topic = Topic::<String, u32>::new("in");
    test.send(&topic, "k".to_owned(), length as u32).map_err(|error| error.to_string())
}

fn lengths(test: &mut TopologyTest) -> Vec<usize> {
    test.take(&output()).expect("decodes").into_iter().map(|(_, text)| text.len()).collect()
}

/// The longest value that a record with the key `k` may have.
fn longest(bytes_max: usize) -> usize {
    let fits =
        |length: &usize| record_bytes(Some(b"k"), Some(&vec![0; *length]), None) <= bytes_max;
    (0..bytes_max).rev().find(fits).expect("some length fits")
}

#[test]
fn the_largest_record_is_sent_and_a_larger_one_is_named() {
    let longest = longest(MAX_MESSAGE_BYTES as usize);
    let mut test = TopologyTest::new(inflating(ErrorPolicy::Fail));
    send(&mut test, longest).expect("fits");
    let error = send(&mut test, longest + 1).expect_err("is too large");
    for part in
        ["record at in-0 offset 1", "a record for out with the key \"k\"", "1048589", "1048588"]
    {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!(lengths(&mut test), [longest]);
}

#[test]
fn the_policy_decides_about_a_record_with_too_large_an_output() {
    let mut skipping = TopologyTest::new(inflating(ErrorPolicy::Skip));
    let mut burying = TopologyTest::new(inflating(ErrorPolicy::dead_letter("dead")));
    for test in [&mut skipping, &mut burying] {
        test.max_message_bytes("out", 200);
        for length in [3, 200, 4] {
            send(test, length).expect("the policy has decided");
        }
        assert_eq!(lengths(test), [3, 4]);
    }
    assert_eq!((skipping.metrics().skipped, burying.metrics().dead_lettered), (1, 1));
    let dead = burying.take_raw("dead");
    assert_eq!(dead[0].value.as_deref(), Some(&200_u32.to_be_bytes()[..]), "as it came");
}

#[test]
fn negative_timestamps_of_user_code_are_errors_of_their_records() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let source = Topic::<String, i64>::new("in");
    let dated = app.stream(&source).process("date");
    let dated = dated.each(|record: Record<String, i64>, context| {
        context.forward(Record::new(record.key, record.value, record.value))
    });
    dated.to(&Topic::new("out"));
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for timestamp in [5, -7, 6] {
        test.send(&source, "k".to_owned(), timestamp).expect("skipped at most");
    }
    let times: Vec<_> = test.take_raw("out").iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [5, 6]);
    let why = "record at in-0 offset 1: a record for out has the timestamp -7";
    assert!(test.failed()[0].starts_with(why), "{:?}", test.failed());
}

/// Sends to `out`, large or early.
async fn sender(mut records: Records<String, i64>, cx: Context) -> AgentResult {
    while let Some(record) = records.next().await {
        let text = "x".repeat(record.value.unsigned_abs() as usize);
        cx.send_at(&output(), Record::new(record.key, text, record.value))?;
    }
    Ok(())
}

#[test]
fn output_of_an_agent_has_the_same_limits() {
    let app = Builder::new("t");
    let source = Topic::<String, i64>::new("in");
    let agent = app.agent("send", source.consumed().on_error(ErrorPolicy::Skip));
    agent.sends(&output()).run(sender);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.max_message_bytes("out", 200);
    for value in [7, 200, -8, 9] {
        test.send(&source, "k".to_owned(), value).expect("skipped at most");
    }
    assert_eq!(lengths(&mut test), [7, 9]);
    let failed = test.failed();
    assert!(
        failed[0].contains("offset 1: agent send") && failed[0].contains("200 of"),
        "{failed:?}"
    );
    assert!(failed[1].contains("offset 2") && failed[1].contains("timestamp -8"), "{failed:?}");
}

/// Collects the texts of each key.
fn collecting(windows: bool) -> Topology {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let add = |all: &mut String, _: &String, text: String| all.push_str(&text);
    let grouped = app.stream(&input()).group_by_key();
    let table = Table::new("texts");
    if windows {
        let grouped = grouped.window(Tumbling::of(Duration::from_secs(60)));
        let texts = grouped.aggregate(&table, String::new, add).updates();
        texts.map(|window, text| (window.key, text)).to(&output());
    } else {
        grouped.aggregate(&table, String::new, add).updates().to(&output());
    }
    app.build().expect("valid")
}

#[test]
fn a_row_that_outgrows_its_changelog_fails_the_record_that_made_it_grow() {
    for windows in [false, true] {
        let mut test = TopologyTest::new(collecting(windows));
        test.max_message_bytes("t-texts-changelog", 105);
        for text in ["a".repeat(20), "b".repeat(20), "c".to_owned()] {
            test.send(&input(), "k".to_owned(), text).expect("skipped at most");
        }
        let texts = test.take(&output()).expect("decodes");
        let last = "a".repeat(20) + "c";
        assert_eq!(texts.last(), Some(&("k".to_owned(), last)), "the second one left nothing");
        let failed = &test.failed()[0];
        for part in
            ["in-0 offset 1", "the entry of the table texts", "\"k", "105", "t-texts-changelog"]
        {
            assert!(failed.contains(part), "{part} in {failed}");
        }
    }
}

#[test]
fn a_row_that_fits_exactly_is_stored_and_restored() {
    let longest = longest(300);
    let mut test = TopologyTest::new(collecting(false));
    test.max_message_bytes("t-texts-changelog", 300);
    test.send(&input(), "k".to_owned(), "x".repeat(longest)).expect("fits");
    test.send(&input(), "k".to_owned(), "y".to_owned()).expect("skipped");
    assert_eq!(test.failed().len(), 1);
    test.crash().expect("restores");
    let text = test.table(&Table::<String, String>::new("texts"), &"k".to_owned());
    assert_eq!(text.expect("decodes").map(|text| text.len()), Some(longest));
}

#[test]
fn even_a_deletion_may_have_too_large_a_key() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let rows = Topic::<String, Option<String>>::new("in");
    app.stream(&rows)
        .process("delete")
        .table(&Table::<String, String>::new("rows"))
        .each(|record, context| {
            context.table(&Table::<String, String>::new("rows"))?.delete(&record.key)?;
            context.forward(Record::new("k".to_owned(), String::new(), 0))
        })
        .to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.max_message_bytes("t-rows-changelog", 100);
    for key in ["short".to_owned(), "long".repeat(50)] {
        test.send(&rows, key, None).expect("skipped at most");
    }
    assert_eq!(test.take(&output()).expect("decodes").len(), 1);
    assert!(test.failed()[0].contains("the entry of the table rows"), "{:?}", test.failed());
}

#[test]
fn a_record_that_does_not_fit_its_repartition_topic_fails() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let counts = Topic::<String, u64>::new("out");
    let grouped = app.stream(&input()).group_by("by-text", |_, text| text.clone());
    grouped.count(&Table::new("counts")).to(&counts);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.max_message_bytes("t-by-text-repartition", 150);
    for text in ["short".to_owned(), "long".repeat(50), "short".to_owned()] {
        test.send(&input(), "k".to_owned(), text).expect("skipped at most");
    }
    let counted = test.take(&counts).expect("decodes");
    assert_eq!(counted.last(), Some(&("short".to_owned(), 2)));
    let failed = &test.failed()[0];
    assert!(
        failed.contains("in-0 offset 1") && failed.contains("t-by-text-repartition"),
        "{failed}"
    );
}

#[test]
fn output_of_a_commit_is_named_with_its_key() {
    let app = Builder::new("t");
    let add = |all: &mut String, _: &String, text: String| all.push_str(&text);
    let grouped = app.stream(&input()).group_by_key();
    grouped.aggregate(&Table::new("texts"), String::new, add).latest().to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.max_message_bytes("out", 100);
    test.send(&input(), "k".to_owned(), "short".to_owned()).expect("fits");
    let sent = test.send(&input(), "user-7".to_owned(), "long".repeat(50));
    let error = sent.expect_err("is too large").to_string();
    for part in ["task 0_0", "a record for out with the key \"user-7\"", "100"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_closed_window_that_does_not_fit_fails_the_record_that_closed_it() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let add = |all: &mut String, _: &String, text: String| all.push_str(&text);
    let grouped = app.stream(&input()).group_by_key().window(Tumbling::of(Duration::from_secs(1)));
    let closed = grouped.aggregate(&Table::new("texts"), String::new, add).closed();
    closed.map(|window, text| (window.key, text)).to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.max_message_bytes("out", 100);
    for (at, text) in [(0, "long".repeat(50)), (5_000, "closes it".to_owned())] {
        let record = Record::new("k".to_owned(), text, at);
        test.send_record(&input(), record).expect("skipped at most");
    }
    let failed = &test.failed()[0];
    assert!(failed.contains("in-0 offset 1: a record for out with the key \"k\""), "{failed}");
}
