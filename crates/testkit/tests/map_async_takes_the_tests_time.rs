//! Calls of `map_async` under test: latencies, time-outs and pauses between attempts happen in
//! virtual time, each at its own moment in whatever steps time passes. Results keep their order.

use std::time::Duration;

use headwater::agents::{Async, Call};
use headwater::errors::Backoff;
use headwater::prelude::*;
use headwater_testkit::{CallError, Calls, Dice, TopologyTest};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn orders() -> Topic<String, u64> {
    Topic::new("orders")
}

fn priced() -> Topic<String, u64> {
    Topic::new("priced")
}

fn counts() -> Table<String, u64> {
    Table::new("counts")
}

fn pricing(calls: &Calls, settings: Async, partitions: i32) -> TopologyTest {
    let app = Builder::new("prices");
    let calls = calls.clone();
    let answered = app
        .stream(&orders())
        .map_async("price", settings, move |call: Call<String, u64>| {
            let calls = calls.clone();
            async move {
                calls.call(&call.id).await?;
                Ok::<_, CallError>(call.record.value * 2)
            }
        })
        .shared();
    answered.clone().to(&priced());
    answered.group_by_key().count(&counts()).to(&Topic::new("counted"));
    TopologyTest::with_partitions(app.build().expect("valid"), &[("orders", partitions)])
}

fn order(test: &mut TopologyTest, value: u64) {
    test.send(&orders(), format!("k{}", value % 3), value).expect("taken");
}

fn values(test: &mut TopologyTest) -> Vec<u64> {
    test.take(&priced()).expect("prices").into_iter().map(|(_, value)| value).collect()
}

#[test]
fn concurrent_calls_take_the_time_of_the_longest_and_keep_their_order() {
    let calls = Calls::new(4).latency(millis(10)..=millis(100));
    let mut test = pricing(&calls, Async::in_flight(16), 1);
    (0..12).for_each(|n| order(&mut test, n));
    assert!(values(&mut test).is_empty());
    test.advance(millis(100)).expect("nothing fails");
    assert_eq!(values(&mut test), (0..12).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(calls.in_flight_max(), 12);
    assert_eq!(test.table(&counts(), &"k1".to_owned()).expect("a table"), Some(4));
    test.finish().expect("nothing is left");
}

#[test]
fn time_outs_and_pauses_end_at_their_own_moments_in_one_long_step() {
    // Three attempts hang, each for 200 ms, with pauses of 50 ms in between.
    let calls = Calls::new(1).hanging(1.0);
    let settings = Async::in_flight(1).timeout(millis(200));
    let settings = settings.retry(2, Backoff::fixed(millis(50)));
    let mut test = pricing(&calls, settings, 1);
    order(&mut test, 1);
    let error = test.advance(millis(10_000)).expect_err("the policy is to fail").to_string();
    assert!(error.contains("after 3 attempts"), "{error}");
    let times: Vec<_> = calls.history().lines().map(|line| line[..8].trim().to_owned()).collect();
    assert_eq!(times, ["0", "200", "250", "450", "500", "700"]);
}

#[test]
fn a_pause_that_ends_at_the_time_out_ends() {
    let calls = Calls::new(1).latency(millis(80)..=millis(80)).failing(1.0);
    let settings = Async::in_flight(1).timeout(millis(100)).retry(2, Backoff::fixed(millis(20)));
    let mut test = pricing(&calls, settings, 1);
    order(&mut test, 1);
    test.advance(millis(10_000)).expect_err("the policy is to fail");
    let begun = calls.history().lines().filter(|line| line.ends_with("begins")).count();
    assert_eq!(begun, 3, "{}", calls.history());
}

#[test]
fn the_size_of_time_steps_does_not_change_the_output() {
    let run = |pieces: &mut dyn FnMut() -> u64| {
        let calls = Calls::new(9).latency(millis(5)..=millis(90)).failing(0.3).hanging(0.1);
        let settings = Async::in_flight(4).timeout(millis(120)).serial_per_key();
        let backoff = Backoff::exponential(millis(10), millis(300));
        let mut test = pricing(&calls, settings.retry(100, backoff), 2);
        for n in 0..30 {
            order(&mut test, n);
            let mut left = 60;
            while left > 0 {
                let piece = pieces().clamp(1, left);
                left -= piece;
                test.advance(millis(piece)).expect("nothing fails");
            }
        }
        test.advance(millis(60_000)).expect("nothing fails");
        let prices = values(&mut test);
        test.finish().expect("nothing is left");
        (prices, calls.history())
    };
    let whole = run(&mut || u64::MAX);
    let mut dice = Dice::new(3);
    let cut = run(&mut || dice.below(25) as u64);
    assert_eq!(whole.0.len(), 30);
    assert_eq!(whole, cut);
}

#[test]
fn a_crash_repeats_calls_in_flight_with_the_same_id() {
    let calls = Calls::new(1).latency(millis(100)..=millis(100));
    let mut test = pricing(&calls, Async::in_flight(16), 1);
    (0..3).for_each(|n| order(&mut test, n));
    test.advance(millis(50)).expect("nothing fails");
    test.crash().expect("it restores");
    test.advance(millis(99)).expect("nothing fails");
    assert!(values(&mut test).is_empty());
    test.advance(millis(1)).expect("nothing fails");
    assert_eq!(values(&mut test), [0, 2, 4]);
    let counts = calls.counts();
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["orders-0-0", "orders-0-1", "orders-0-2"]);
    assert!(counts.values().all(|one| (one.begun, one.served) == (2, 1)), "{counts:?}");
}
