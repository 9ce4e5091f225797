//! Windows with a longer retention close once and with the same results, whatever arrives late: for
//! all kinds of windows, from one stream and from several.

mod mishaps;

use std::time::Duration;

use headwater_streams_core::codec::Json;
use headwater_streams_core::window::SessionWindowed;
use headwater_streams_core::{
    Builder, Hopping, Record, Session, Sliding, Table, Topic, Topology, Tumbling, Windowed, Windows,
};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tumbling,
    Hopping,
    Sliding,
    Session,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    kind: Kind,
    /// Size, difference or gap.
    length: i64,
    advance: i64,
    grace: i64,
    retention: Option<i64>,
    /// Whether two streams are aggregated into one table.
    cogroups: bool,
}

/// A record's time, and its identifying number.
type Value = (i64, i64);

fn input(name: &'static str) -> Topic<String, Value> {
    Topic::json(name)
}

fn output() -> Topic<Windowed<String>, Vec<i64>> {
    Topic::with("out", SessionWindowed::new(), Json)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

fn with_windows(setting: Setting, windows: impl Windows + Clone) -> Topology {
    let app = Builder::new("model");
    let stream = |name| {
        let by_value =
            input(name).consumed().timestamps(|record: &Record<String, Value>| record.value.0);
        app.stream(by_value).map_values(|value| value.1).group_by_key()
    };
    let push = |all: &mut Vec<i64>, _: &String, number| all.push(number);
    let merge = |_: &String, mut first: Vec<i64>, second: Vec<i64>| {
        first.extend(second);
        first
    };
    let table = Table::json("numbers");
    let numbers = if setting.cogroups {
        let both = stream("left").cogroup(push).with(stream("right"), push);
        both.window(windows).aggregate_merging(&table, Vec::new, merge)
    } else {
        stream("left").window(windows).aggregate_merging(&table, Vec::new, push, merge)
    };
    numbers.closed().to(&output());
    app.build().expect("valid")
}

fn topology(setting: Setting) -> Topology {
    let Setting { length, advance, grace, retention, .. } = setting;
    let length = millis(length);
    let advance = millis(advance);
    let grace = millis(grace);
    let retention = millis(retention.unwrap_or(0));
    match setting.kind {
        Kind::Tumbling => {
            with_windows(setting, Tumbling::of(length).grace(grace).retention(retention))
        }
        Kind::Hopping => {
            let hopping = Hopping::of(length, advance.min(length));
            with_windows(setting, hopping.grace(grace).retention(retention))
        }
        Kind::Sliding => {
            with_windows(setting, Sliding::of(length).grace(grace).retention(retention))
        }
        Kind::Session => {
            with_windows(setting, Session::of(length).grace(grace).retention(retention))
        }
    }
}

fn settings() -> impl Strategy<Value = Setting> {
    use Kind::*;
    let kind = prop::sample::select(vec![Tumbling, Hopping, Sliding, Session]);
    let lengths = (1..9_i64, 1..9_i64, 0..9_i64, 0..60_i64);
    (kind, lengths, any::<bool>()).prop_map(|(kind, lengths, cogroups)| {
        let (length, advance, grace, retention) = lengths;
        let retention = Some(retention);
        Setting { kind, length, advance, grace, retention, cogroups }
    })
}

/// The stream, the key, the advance of stream time, and the record's lateness.
fn steps() -> impl Strategy<Value = Vec<(bool, usize, i64, i64)>> {
    let behind = prop_oneof![3 => 0..14_i64, 1 => 0..30_i64];
    prop::collection::vec((any::<bool>(), 1..3_usize, 0..5_i64, behind), 1..60)
}

/// Windows that one record sends at one step are ordered only within their key.
fn sorted(
    mut records: Vec<Record<Windowed<String>, Vec<i64>>>,
) -> Vec<(Windowed<String>, Vec<i64>)> {
    records.sort_by(|a, b| a.key.key.cmp(&b.key.key));
    records.into_iter().map(|record| (record.key, record.value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn retention_decides_no_result(
        setting in settings(), steps in steps(), mishaps in Mishaps::any(),
    ) {
        let mut kept = TopologyTest::new(topology(setting));
        let mut plain = TopologyTest::new(topology(Setting { retention: None, ..setting }));
        mishaps.begin(&mut kept);
        let mut time = 0;
        let mut closed = std::collections::BTreeSet::new();
        for (step, (is_left, key, on, behind)) in steps.into_iter().enumerate() {
            let at = (time + on - behind).max(0);
            time = time.max(at);
            let topic = input(if is_left || !setting.cogroups { "left" } else { "right" });
            let record = Record::new("k".repeat(key), (at, step as i64), step as i64);
            mishaps.before(step, &mut kept);
            let mut out = Vec::new();
            for test in [&mut kept, &mut plain] {
                test.send_record(&topic, record.clone()).expect("processed");
                out.push(sorted(test.take_records(&output()).expect("decodes")));
            }
            prop_assert_eq!(&out[0], &out[1], "at step {}", step);
            for (window, _) in out.remove(0).into_iter() {
                prop_assert!(closed.insert(window.clone()), "{:?} was closed twice", window);
            }
        }
    }
}
