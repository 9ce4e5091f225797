//! A dead letter reaches its topic, whatever its error says and however often it is reprocessed;
//! otherwise the application stops and names it. Its headers are those of Kafka Streams (KIP-1034).

use headwater_streams_core::{
    Builder, ErrorPolicy, Headers, OwnedRecord, Topic, Topology, record_bytes,
};
use headwater_testkit::TopologyTest;

/// Fails on every record with a text as long as `error`. Dead letters can be sent to the input
/// again.
fn failing(error: usize) -> Topology {
    let app = Builder::new("t");
    let topic = Topic::<String, String>::new("in");
    app.stream(topic.consumed().on_error(ErrorPolicy::dead_letter("dead")))
        .try_filter(move |_, _| Err::<bool, _>("é".repeat(error / 2)))
        .to(&Topic::new("out"));
    app.build().expect("valid")
}

fn record(value: &[u8]) -> OwnedRecord {
    let key = Some(b"k"[..].into());
    let value = Some(value.into());
    OwnedRecord { key, value, timestamp: 7, ..OwnedRecord::default() }
}

fn text(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.last(name)??;
    Some(String::from_utf8(value.to_vec()).expect("is text"))
}

fn names(headers: &Headers) -> Vec<&str> {
    headers.iter().map(|(name, _)| name).collect()
}

#[test]
fn headers_are_those_of_kafka_streams() {
    let mut test = TopologyTest::new(failing(10));
    test.send_raw("in", record(b"value")).expect("is dead");
    let dead = test.take_raw("dead").remove(0);
    let header = |name| text(&dead.headers, name).expect(name);
    assert_eq!(header("__streams.errors.topic"), "in");
    assert_eq!(header("__streams.errors.partition"), "0");
    assert_eq!(header("__streams.errors.offset"), "0");
    assert_eq!(header("__streams.errors.exception"), "headwater::Cause::User");
    assert!(header("__streams.errors.message").contains("ééééé"));
    assert!(header("__streams.errors.stacktrace").contains("\nCaused by: ééééé"));
    assert_eq!(dead.headers.len(), 6);
    let unchanged = (dead.key.as_deref(), dead.value.as_deref(), dead.timestamp);
    assert_eq!(unchanged, (Some(&b"k"[..]), Some(&b"value"[..]), 7));
}

#[test]
fn a_reprocessed_dead_letter_has_one_set_of_headers() {
    let mut test = TopologyTest::new(failing(10));
    let mut next = record(b"value");
    next.headers.push("first", Some(b"1"));
    next.headers.push("second", None);
    next.headers.push("first", Some(b"3"));
    for round in 0..5 {
        test.send_raw("in", next).expect("is dead");
        next = test.take_raw("dead").remove(0);
        assert_eq!(next.headers.len(), 3 + 6, "in round {round}");
        let offset = text(&next.headers, "__streams.errors.offset");
        assert_eq!(offset, Some(round.to_string()), "the last round's");
    }
    assert_eq!(names(&next.headers)[..3], ["first", "second", "first"], "in their order");
    assert_eq!(next.headers.last("first"), Some(Some(&b"3"[..])));
}

#[test]
fn the_text_of_an_error_is_bounded() {
    let mut test = TopologyTest::new(failing(5 << 20));
    test.send_raw("in", record(b"value")).expect("is dead");
    let dead = test.take_raw("dead").remove(0);
    let message = text(&dead.headers, "__streams.errors.message").expect("there");
    assert!(message.len() <= 1024 && message.len() > 1000 && message.ends_with("é…"), "{message}");
    let stacktrace = text(&dead.headers, "__streams.errors.stacktrace").expect("there");
    assert!(stacktrace.len() <= 4096, "{}", stacktrace.len());
}

#[test]
fn headers_are_dropped_if_the_record_needs_the_space() {
    let mut counts = Vec::new();
    for length in (100..8_000).step_by(20) {
        let mut test = TopologyTest::new(failing(3_000));
        test.max_message_bytes("dead", 8_000);
        let sent = record(&vec![b'x'; length]);
        test.send_raw("in", sent).expect("is dead");
        let dead = test.take_raw("dead").remove(0);
        assert_eq!(dead.value.as_ref().map(|value| value.len()), Some(length));
        let bytes = record_bytes(dead.key.as_deref(), dead.value.as_deref(), Some(&dead.headers));
        assert!(bytes <= 8_000, "{bytes} bytes of a value of {length}");
        counts.push(dead.headers.len());
        if (length..length + 20).contains(&7_920) {
            break;
        }
    }
    counts.dedup();
    assert_eq!(counts, [6, 5, 4, 0], "less and less");
}

#[test]
fn a_record_that_fits_no_topic_stops_the_application_and_is_named() {
    let mut test = TopologyTest::new(failing(10));
    test.max_message_bytes("dead", 200);
    let error = test.send_raw("in", record(&[0; 500])).expect_err("does not fit").to_string();
    for part in ["record at in-0 offset 0", "ééééé", "a record for dead", "more than the 200"]
    {
        assert!(error.contains(part), "{part} in {error}");
    }
}
