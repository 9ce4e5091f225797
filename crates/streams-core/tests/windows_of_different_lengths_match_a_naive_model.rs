//! Windows of any lengths, adjacent or overlapping, are closed once, each at its own time, whatever
//! arrives out of order and whatever happens to the task.

mod mishaps;

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_streams_core::codec::Json;
use headwater_streams_core::window::SessionWindowed;
use headwater_streams_core::window::{
    Base, Naming, Near, Plan, Unmerged, Window, Windowed, Windows,
};
use headwater_streams_core::{
    Builder, ErrorPolicy, Record, Suppress, Table, Timestamp, Topic, Topology,
};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

/// Each window begins where its predecessor says, and has its own length.
#[derive(Clone, Debug)]
struct Ragged {
    ends: Arc<BTreeMap<Timestamp, Timestamp>>,
    grace: i64,
    retention: i64,
}

impl Ragged {
    fn of(starts_and_lengths: &[(i64, i64)], grace: i64, retention: i64) -> Self {
        let mut ends = BTreeMap::new();
        let mut start = 0;
        for (gap, length) in starts_and_lengths {
            ends.insert(start, start + length);
            start += gap;
        }
        Self { ends: Arc::new(ends), grace, retention }
    }

    fn around(&self, timestamp: Timestamp) -> impl Iterator<Item = Window> {
        let windows = self.ends.range(..=timestamp).map(|(start, end)| (*start, *end));
        windows.filter(move |(_, end)| timestamp < *end).map(|(start, end)| Window { start, end })
    }

    fn longest(&self) -> i64 {
        self.ends.iter().map(|(start, end)| end - start).max().unwrap_or(0)
    }
}

impl Windows for Ragged {
    fn naming(&self) -> Naming {
        Naming::Start
    }

    fn starting_at(&self, start: Timestamp) -> Window {
        Window { start, end: self.ends[&start] }
    }

    fn near_from(&self, timestamp: Timestamp) -> Timestamp {
        timestamp
    }

    fn is_near(&self, _: Window, _: Timestamp) -> bool {
        false
    }

    fn place(&self, timestamp: Timestamp, time: Timestamp, _: &[Near], plan: &mut Plan) {
        let open = self.around(timestamp).filter(|window| window.end + self.grace > time);
        open.for_each(|window| plan.add(window, Base::Stored));
    }

    fn close_after_ms(&self) -> i64 {
        self.longest() + self.grace
    }

    fn keep_for_ms(&self) -> i64 {
        self.close_after_ms().max(self.retention)
    }

    fn final_after_end_ms(&self) -> i64 {
        self.grace
    }

    fn idle_after_ms(&self) -> Option<i64> {
        None
    }

    fn fault(&self) -> Option<String> {
        None
    }
}

impl Unmerged for Ragged {}

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<Windowed<String>, Vec<i64>> {
    Topic::with("out", SessionWindowed::new(), Json)
}

fn table() -> Table<String, Vec<i64>> {
    Table::json("numbers")
}

/// A record with a negative number fails after it was added, so its addition is undone.
fn topology(windows: Ragged, suppressed: bool) -> Topology {
    let app = Builder::new("model");
    let stream = app.stream(input().consumed().on_error(ErrorPolicy::Skip)).shared();
    let push = |all: &mut Vec<i64>, _: &String, number| all.push(number);
    let grouped = stream.clone().group_by_key().window(windows);
    let numbers = grouped.aggregate(&table(), Vec::new, push);
    if suppressed {
        let table = numbers.into_table();
        let finals = table.suppress(Suppress::until_window_closes(), "finals").to_stream();
        finals.map_values(|all| all.unwrap_or_default()).to(&output());
    } else {
        numbers.closed().to(&output());
    }
    let check = |number: i64| if number < 0 { Err("a bad number") } else { Ok(number) };
    stream.try_map_values(check).to(&Topic::new("checked"));
    app.build().expect("valid")
}

/// Where windows begin, in order, and how long each lasts. Without the lengths they are adjacent.
fn windows() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let overlapping = prop::collection::vec((1..12_i64, 1..30_i64), 60);
    let side_by_side = prop::collection::vec(1..12_i64, 60);
    prop_oneof![
        overlapping,
        side_by_side.prop_map(|lengths| lengths.into_iter().map(|one| (one, one)).collect()),
    ]
}

/// The advance of stream time, the record's lateness, its key, and whether it fails.
fn steps() -> impl Strategy<Value = Vec<(i64, i64, usize, bool)>> {
    let is_bad = prop::bool::weighted(0.1);
    prop::collection::vec((0..6_i64, 0..20_i64, 1..4_usize, is_bad), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_of_different_lengths_match_a_naive_model(
        layout in windows(), grace in 0..8_i64, retention in prop_oneof![Just(0), Just(500_i64)],
        steps in steps(), mishaps in Mishaps::any(), suppressed in any::<bool>(),
        portion in prop::option::of(1..4_usize),
    ) {
        let windows = Ragged::of(&layout, grace, retention);
        let mut test = TopologyTest::new(topology(windows.clone(), suppressed));
        mishaps.begin(&mut test);
        portion.into_iter().for_each(|entries| test.portions(entries));
        let mut open = BTreeMap::<(Timestamp, String), Vec<i64>>::new();
        // Suppressed changes are emitted by the time of the changes. A record without a window
        // makes no change.
        let mut time = 0;
        let mut changes_time = 0;
        let closes_at = |start: &Timestamp| windows.ends[start] + grace;
        for (step, (on, behind, key, is_bad)) in steps.into_iter().enumerate() {
            mishaps.before(step, &mut test);
            let at = (time + on - behind).max(0);
            let number = if is_bad { -1 } else { step as i64 };
            let key = "k".repeat(key);
            test.send_record(&input(), Record::new(key.clone(), number, at)).expect("processed");
            let mut expected = BTreeMap::new();
            if !is_bad {
                time = time.max(at);
                for window in windows.around(at).filter(|window| window.end + grace > time) {
                    open.entry((window.start, key.clone())).or_default().push(number);
                    changes_time = changes_time.max(at);
                }
                let now = if suppressed { changes_time } else { time };
                let over = open.extract_if(.., |(start, _), _| closes_at(start) <= now);
                expected.extend(over.map(|((start, key), numbers)| {
                    (Windowed { key, start, end: windows.ends[&start] }, numbers)
                }));
            }
            let found = test.take(&output()).expect("decodes");
            let count = found.len();
            let found: BTreeMap<_, _> = found.into_iter().collect();
            prop_assert_eq!(found.len(), count, "a window was sent twice");
            prop_assert_eq!(found, expected, "at step {}", step);
        }
    }
}
