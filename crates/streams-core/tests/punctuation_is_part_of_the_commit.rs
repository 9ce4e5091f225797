//! What a punctuator sends is committed once, and restarts neither lose nor repeat it.

use std::time::Duration;

use headwater_streams_core::{Builder, Record, Topic, Topology};
use headwater_testkit::TopologyTest;

fn every_second() -> Topology {
    let app = Builder::new("ticks");
    let input = Topic::<String, i64>::new("in");
    app.stream(&input)
        .process::<String, i64>("ticker")
        .on_wall_clock(Duration::from_secs(1), |now, context| {
            context.forward(Record::new("tick".to_owned(), now, now))
        })
        .each(|_, _| Ok(()))
        .to(&ticks());
    app.build().expect("valid")
}

fn ticks() -> Topic<String, i64> {
    Topic::new("ticks")
}

fn times(test: &mut TopologyTest) -> Vec<i64> {
    test.take(&ticks()).expect("decodes").into_iter().map(|(_, time)| time).collect()
}

#[test]
fn output_without_any_record_or_table_is_sent() {
    let mut test = TopologyTest::new(every_second());
    test.advance(Duration::from_millis(1_000)).unwrap();
    test.advance(Duration::from_millis(500)).unwrap();
    test.advance(Duration::from_millis(3_000)).unwrap();
    assert_eq!(times(&mut test), [1_000, 4_500], "late ones are not made up for");
    test.advance(Duration::from_millis(500)).unwrap();
    assert_eq!(times(&mut test), [5_000], "the phase stays");
}

#[test]
fn an_aborted_punctuation_happens_again() {
    let mut test = TopologyTest::new(every_second());
    test.advance(Duration::from_millis(900)).unwrap();
    let mut aborts = 2;
    test.abort_when(move |_| {
        aborts -= 1;
        aborts >= 0
    });
    test.advance(Duration::from_millis(100)).unwrap();
    assert_eq!(times(&mut test), [1_000]);
}

#[test]
fn frequent_crashes_do_not_postpone_it_endlessly() {
    let mut test = TopologyTest::new(every_second());
    let mut sent = Vec::new();
    for _ in 0..10 {
        test.advance(Duration::from_millis(400)).unwrap();
        test.crash().unwrap();
        sent.extend(times(&mut test));
    }
    assert_eq!(sent, [1_200, 2_000, 3_200, 4_000]);
}
