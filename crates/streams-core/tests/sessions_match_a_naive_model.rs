//! Sessions equal those computed from a list of all records: overlapping ones merge, and a closed
//! one is sent once and accepts no more records, however long it is retained.

mod mishaps;

use std::time::Duration;

use headwater_streams_core::codec::Json;
use headwater_streams_core::window::SessionWindowed;
use headwater_streams_core::{Builder, Record, Session, Table, Topic, Topology, Windowed};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Setting {
    gap: i64,
    grace: i64,
    retention: i64,
}

/// A record's time, and the numbers of the records that it becomes before the sessions.
type Several = (i64, Vec<i64>);

fn input() -> Topic<String, Several> {
    Topic::json("in")
}

fn output() -> Topic<Windowed<String>, Vec<i64>> {
    Topic::with("out", SessionWindowed::new(), Json)
}

impl Setting {
    fn topology(self) -> Topology {
        let millis = |ms: i64| Duration::from_millis(ms as u64);
        let sessions = Session::of(millis(self.gap)).grace(millis(self.grace));
        let sessions = sessions.retention(millis(self.retention));
        let app = Builder::new("model");
        let by_value =
            input().consumed().timestamps(|record: &Record<String, Several>| record.value.0);
        let stream = app.stream(by_value);
        let windows = stream.flat_map_values(|value: Several| value.1).group_by_key();
        let push = |all: &mut Vec<i64>, _: &String, number| all.push(number);
        let merge = |_: &String, mut first: Vec<i64>, second: Vec<i64>| {
            first.extend(second);
            first
        };
        let table = Table::json("numbers");
        let numbers = windows.window(sessions).aggregate_merging(&table, Vec::new, push, merge);
        numbers.closed().to(&output());
        app.build().expect("valid")
    }
}

/// An open session: its key, its bounds, its numbers.
#[derive(Clone, Debug)]
struct Open {
    key: String,
    start: i64,
    end: i64,
    numbers: Vec<i64>,
}

struct Model {
    setting: Setting,
    time: i64,
    open: Vec<Open>,
}

impl Model {
    fn is_closed(&self, end: i64) -> bool {
        end + self.setting.gap + self.setting.grace < self.time
    }

    /// The sessions that the record closes, with their numbers sorted.
    fn arrive(&mut self, key: &str, at: i64, number: i64) -> Vec<(String, i64, i64, Vec<i64>)> {
        self.time = self.time.max(at);
        let mut out: Vec<_> = Vec::new();
        let (closed, open): (Vec<_>, Vec<_>) =
            self.open.clone().into_iter().partition(|one| self.is_closed(one.end));
        out.extend(closed);
        let gap = self.setting.gap;
        let is_near = |one: &Open| one.key == key && one.start <= at + gap && one.end >= at - gap;
        let (near, rest): (Vec<_>, Vec<_>) = open.clone().into_iter().partition(is_near);
        let mut all = Open { key: key.to_owned(), start: at, end: at, numbers: vec![number] };
        for one in near {
            all.start = all.start.min(one.start);
            all.end = all.end.max(one.end);
            all.numbers.extend(one.numbers);
        }
        if self.is_closed(all.end) {
            // Late: it is in no session.
            self.open = open;
        } else {
            self.open = rest;
            self.open.push(all);
        }
        let tell = |mut one: Open| {
            one.numbers.sort_unstable();
            (one.key, one.start, one.end, one.numbers)
        };
        out.into_iter().map(tell).collect()
    }
}

fn settings() -> impl Strategy<Value = Setting> {
    (0..9_i64, 0..9_i64, 0..60_i64).prop_map(|(gap, grace, retention)| Setting {
        gap,
        grace,
        retention,
    })
}

/// The key, the advance of stream time, the record's lateness, and how many records it becomes.
fn steps() -> impl Strategy<Value = Vec<(usize, i64, i64, usize)>> {
    let count = prop_oneof![6 => Just(1_usize), 1 => 2..4_usize];
    prop::collection::vec((1..4_usize, 0..6_i64, 0..25_i64, count), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn sessions_match_a_naive_model(
        setting in settings(), steps in steps(), mishaps in Mishaps::any(),
    ) {
        let mut test = TopologyTest::new(setting.topology());
        mishaps.begin(&mut test);
        let mut model = Model { setting, time: 0, open: Vec::new() };
        for (step, (key, on, behind, count)) in steps.into_iter().enumerate() {
            let at = (model.time + on - behind).max(0);
            let key = "k".repeat(key);
            let numbers: Vec<_> = (0..count).map(|n| (10 * step + n) as i64).collect();
            mishaps.before(step, &mut test);
            let record = Record::new(key.clone(), (at, numbers.clone()), step as i64);
            test.send_record(&input(), record).expect("processed");
            let found = test.take(&output()).expect("decodes").into_iter();
            let mut found: Vec<_> = found
                .map(|(window, mut numbers)| {
                    numbers.sort_unstable();
                    (window.key, window.start, window.end, numbers)
                })
                .collect();
            let closed = numbers.into_iter().flat_map(|number| model.arrive(&key, at, number));
            let mut expected: Vec<_> = closed.collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "at step {}", step);
        }
    }
}
