//! The sliding windows of records in time are those of the definition, with the right contents.
//! Changes are sent as they happen, and each window closes once.

mod mishaps;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_streams_core::codec::Json;
use headwater_streams_core::window::SessionWindowed;
use headwater_streams_core::{Builder, Record, Sliding, Table, Topic, Topology, Windowed};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

/// Windows with the numbers of their records and the largest timestamp among them.
type State = BTreeMap<Windowed<String>, (Vec<i64>, i64)>;

#[derive(Clone, Copy, Debug)]
struct Setting {
    difference: i64,
    grace: i64,
    /// Whether results are sent when windows close, or for every change.
    is_closed: bool,
    /// Whether all windows are retained, or only as long as they are needed.
    keeps_all: bool,
}

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<Windowed<String>, Vec<i64>> {
    Topic::with("out", SessionWindowed::new(), Json)
}

fn table() -> Table<String, Vec<i64>> {
    Table::json("numbers")
}

impl Setting {
    fn windows(&self) -> Sliding {
        let millis = |ms: i64| Duration::from_millis(ms as u64);
        let windows = Sliding::of(millis(self.difference)).grace(millis(self.grace));
        if self.keeps_all { windows.retention(millis(100_000)) } else { windows }
    }

    fn topology(&self) -> Topology {
        let app = Builder::new("model");
        let windows = app.stream(&input()).group_by_key().window(self.windows());
        let push = |all: &mut Vec<i64>, _: &String, number| all.push(number);
        let numbers = windows.aggregate(&table(), Vec::new, push);
        if self.is_closed {
            numbers.closed().to(&output());
        } else {
            numbers.to(&output());
        }
        app.build().expect("valid")
    }

    /// All windows of these records, by definition.
    fn all_windows(&self, records: &[Record<String, i64>]) -> State {
        let mut starts = Vec::new();
        for record in records {
            // A window does not begin below 0.
            starts.push((record.key.clone(), (record.timestamp - self.difference).max(0)));
            starts.push((record.key.clone(), record.timestamp + 1));
        }
        let window = |(key, start): (String, i64)| {
            let end = start + self.difference;
            let is_in = |one: &&Record<String, i64>| {
                one.key == key && (start..=end).contains(&one.timestamp)
            };
            let inside: Vec<_> = records.iter().filter(is_in).collect();
            let latest = inside.iter().map(|one| one.timestamp).max()?;
            let numbers = inside.iter().map(|one| one.value).collect();
            Some((Windowed { key, start, end }, (numbers, latest)))
        };
        starts.into_iter().filter_map(window).collect()
    }
}

/// Records as a state; a duplicate window is a failure.
fn state(records: Vec<Record<Windowed<String>, Vec<i64>>>) -> State {
    let count = records.len();
    let sorted = |mut numbers: Vec<i64>| {
        numbers.sort_unstable();
        numbers
    };
    let state: State =
        records.into_iter().map(|one| (one.key, (sorted(one.value), one.timestamp))).collect();
    assert_eq!(state.len(), count, "a window was sent twice at once");
    state
}

fn settings() -> impl Strategy<Value = Setting> {
    (1..9_i64, 0..9_i64, any::<bool>(), any::<bool>()).prop_map(
        |(difference, grace, is_closed, keeps_all)| Setting {
            difference,
            grace,
            is_closed,
            keeps_all,
        },
    )
}

/// The advance of stream time, the record's lateness (at most the grace), and its key.
fn steps() -> impl Strategy<Value = Vec<(i64, i64, usize)>> {
    prop::collection::vec((0..4_i64, 0..9_i64, 1..4_usize), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sliding_windows_match_a_naive_model(
        setting in settings(), steps in steps(), mishaps in Mishaps::any(),
    ) {
        let mut test = TopologyTest::new(setting.topology());
        mishaps.begin(&mut test);
        let mut records = Vec::new();
        let mut before = State::new();
        let mut time = 0;
        let is_over = |window: &Windowed<String>, time| window.end + setting.grace < time;
        for (step, (on, behind, key)) in steps.into_iter().enumerate() {
            let at = (time + on - behind.min(setting.grace)).max(0);
            let now = time.max(at);
            let record = Record::new("k".repeat(key), step as i64, at);
            mishaps.before(step, &mut test);
            test.send_record(&input(), record.clone()).expect("processed");
            records.push(record);
            let found = state(test.take_records(&output()).expect("decodes"));
            let after = setting.all_windows(&records);
            let mut expected = after.clone();
            expected.retain(|window, contents| {
                let is_new = before.get(window) != Some(contents);
                let closes = is_over(window, now) && !is_over(window, time);
                if setting.is_closed { closes } else { is_new }
            });
            prop_assert_eq!(found, expected, "at step {}", step);
            before = after;
            time = now;
        }
        if setting.keeps_all {
            let kept = test.table_windows(&table(), &setting.windows()).expect("reads");
            prop_assert_eq!(state(kept), before);
        }
    }
}
