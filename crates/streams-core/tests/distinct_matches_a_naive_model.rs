//! `distinct` forwards what a list of the forwarded keys says, whatever the records' times, the
//! ttl, failing operators, crashes, aborted commits and portions.
#![allow(clippy::unwrap_used)]

mod mishaps;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::prelude::*;
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

/// The operator downstream cannot process this.
const BROKEN: i64 = 13;

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

fn seen(ttl: Option<i64>) -> Table<String, i64> {
    let table = Table::new("seen");
    match ttl {
        Some(ttl) => table.ttl(Duration::from_millis(ttl as u64)),
        None => table,
    }
}

fn topology(ttl: Option<i64>) -> Topology {
    let app = Builder::new("model");
    app.on_error(ErrorPolicy::Skip);
    let first = app.stream(&input()).distinct(&seen(ttl));
    let check = |value: i64| if value == BROKEN { Err("broken") } else { Ok(value) };
    first.try_map_values(check).to(&output());
    app.build().unwrap()
}

/// What was forwarded, and when.
#[derive(Clone, Debug)]
struct Model {
    ttl: Option<i64>,
    time: i64,
    rows: BTreeMap<String, i64>,
}

impl Model {
    /// Whether the record is forwarded.
    fn arrive(&mut self, key: &str, at: i64) -> bool {
        self.time = self.time.max(at);
        self.expire();
        let is_first = !self.rows.contains_key(key);
        if is_first {
            self.rows.insert(key.to_owned(), at);
        }
        // The record's own row, if it is that late.
        self.expire();
        is_first
    }

    fn expire(&mut self) {
        if let Some(ttl) = self.ttl {
            self.rows.retain(|_, at| *at + ttl > self.time);
        }
    }
}

/// The key, the advance of stream time, the record's lateness, and its value.
fn steps() -> impl Strategy<Value = Vec<(usize, i64, i64, i64)>> {
    let on = prop_oneof![4 => 0..4_i64, 1 => 0..30_i64];
    let behind = prop_oneof![4 => 0..3_i64, 1 => 0..40_i64];
    let value = prop_oneof![5 => 0..9_i64, 1 => Just(BROKEN)];
    prop::collection::vec((1..6_usize, on, behind, value), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn distinct_matches_a_naive_model(
        ttl in prop::option::weighted(0.8, 1..20_i64), steps in steps(), mishaps in Mishaps::any(),
    ) {
        let mut test = TopologyTest::new(topology(ttl));
        mishaps.begin(&mut test);
        let mut model = Model { ttl, time: 0, rows: BTreeMap::new() };
        for (step, (key, on, behind, value)) in steps.into_iter().enumerate() {
            let key = "k".repeat(key);
            let at = (model.time + on - behind).max(0);
            mishaps.before(step, &mut test);
            test.send_record(&input(), Record::new(key.clone(), value, at)).unwrap();
            let before = model.clone();
            let mut expected = Vec::new();
            if model.arrive(&key, at) {
                expected.push((key, value, at));
            }
            if value == BROKEN && !expected.is_empty() {
                // As if it had not arrived: the next record of its key is the first.
                model = before;
                expected.clear();
            }
            let found = test.take_records(&output()).unwrap().into_iter();
            let found: Vec<_> = found.map(|one| (one.key, one.value, one.timestamp)).collect();
            prop_assert_eq!(found, expected, "at step {}", step);
            let rows = test.table_rows(&seen(ttl)).unwrap().into_iter();
            let rows: BTreeMap<_, _> = rows.map(|row| (row.key, row.value)).collect();
            prop_assert_eq!(rows, model.rows.clone(), "at step {}", step);
        }
    }
}

#[test]
fn a_record_without_a_key_fails() {
    let input = Topic::<Option<String>, i64>::new("in");
    let output = Topic::<Option<String>, i64>::new("out");
    let app = Builder::new("app");
    app.on_error(ErrorPolicy::Skip);
    app.stream(&input).distinct(&Table::new("seen")).to(&output);
    let mut test = TopologyTest::new(app.build().unwrap());
    for key in [None, Some("a"), None, Some("a")] {
        test.send(&input, key.map(str::to_owned), 1).unwrap();
    }
    assert_eq!(test.take(&output).unwrap(), [(Some("a".to_owned()), 1)]);
    assert_eq!(test.failed().len(), 2, "{:?}", test.failed());
}

#[test]
fn a_key_that_may_have_changed_is_refused() {
    let app = Builder::new("app");
    let stream = app.stream(&input()).select_key(|_, value| value.to_string());
    stream.distinct(&seen(None)).to(&output());
    let error = app.build().err().expect("refused").to_string();
    assert!(error.contains("distinct after an operator that changes the key"), "{error}");
}
