//! Processors read the windows of a key that overlap a range of time, for every kind of window, as
//! the records before left them. They never read a deleted window.
#![allow(clippy::unwrap_used)]

mod mishaps;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use headwater::codec::{Text, TimeWindowed};
use headwater::prelude::*;
use headwater::windows::{Base, Naming, Near, Plan, Unmerged, Window, Windows};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

/// A range as a user may write it.
type Span = (Bound<i64>, Bound<i64>);

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

fn events() -> Topic<String, i64> {
    Topic::new("events")
}

/// The value says which range to read.
fn asks() -> Topic<String, Vec<i64>> {
    Topic::json("asks")
}

fn answers() -> Topic<String, Answer> {
    Topic::json("answers")
}

fn answers_at_once() -> Topic<String, Answer> {
    Topic::json("answers-at-once")
}

fn kept() -> Table<String, Vec<i64>> {
    Table::json("kept")
}

/// The kind of range, and two times.
fn span(ask: &[i64]) -> Span {
    let from = ask[1];
    let to = ask[2];
    match ask[0] {
        0 => (Bound::Unbounded, Bound::Unbounded),
        1 => (Bound::Included(from), Bound::Excluded(to)),
        2 => (Bound::Included(from), Bound::Included(to)),
        3 => (Bound::Excluded(from), Bound::Unbounded),
        _ => (Bound::Unbounded, Bound::Included(to)),
    }
}

type Answer = Vec<(i64, i64, Vec<i64>)>;

fn read(
    key: String,
    time: Span,
    cx: &mut headwater::streams::ProcessContext<'_, String, Answer>,
) -> Result<(), headwater::streams::ProcessError> {
    let mut found = Vec::new();
    for window in cx.table(&kept())?.windows(&key, time)? {
        let (window, numbers) = window?;
        found.push((window.start, window.end, numbers));
    }
    cx.forward(Record::new(key, found, 0))
}

fn topology(windows: &(impl Windows + Clone), sends_closed: bool) -> Topology {
    let app = Builder::new("model");
    let process = app.stream(&asks()).process("ask").reads(&kept());
    process.each(move |ask, cx| read(ask.key, span(&ask.value), cx)).to(&answers());
    let push = |all: &mut Vec<i64>, _: &String, number| all.push(number);
    let merge = |_: &String, mut first: Vec<i64>, second: Vec<i64>| {
        first.extend(second);
        first
    };
    let grouped = app.stream(&events()).group_by_key().window(windows.clone());
    let all = grouped.aggregate_merging(&kept(), Vec::new, push, merge);
    if sends_closed {
        let names = all.closed().map(|window, _| (window.key, window.start));
        names.to(&Topic::new("closed"));
    }
    // Reads in the same record that closes and deletes windows, after that.
    let process = app.stream(&events()).process("ask-at-once").reads(&kept());
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let at_once = process.each(move |event, cx| {
        let other = if event.key == "k" { "kk" } else { "k" };
        read(other.to_owned(), everything, cx)?;
        read(event.key, everything, cx)
    });
    at_once.to(&answers_at_once());
    app.build().unwrap()
}

/// Windows of different lengths: short and long ones alternate.
#[derive(Clone)]
struct Shifts;

impl Windows for Shifts {
    fn naming(&self) -> Naming {
        Naming::Start
    }

    fn starting_at(&self, start: i64) -> Window {
        Window { start, end: start + if start % 10 == 0 { 3 } else { 7 } }
    }

    fn place(&self, timestamp: i64, time: i64, _: &[Near], plan: &mut Plan) {
        let at = timestamp % 10;
        let shift = self.starting_at(timestamp - at + if at < 3 { 0 } else { 3 });
        if self.closes_at(shift) > time {
            plan.add(shift, Base::Stored);
        }
    }

    fn final_after_end_ms(&self) -> i64 {
        4
    }
}

impl Unmerged for Shifts {}

/// An event with its key, the advance of stream time and its lateness; or a query.
#[derive(Clone, Debug)]
enum Step {
    Event(usize, i64, i64),
    Ask(usize, Vec<i64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event =
        (1..4_usize, 0..4_i64, 0..12_i64).prop_map(|(key, on, ago)| Step::Event(key, on, ago));
    let ask = (1..5_usize, 0..5_i64, -2..50_i64, -2..50_i64)
        .prop_map(|(key, kind, from, to)| Step::Ask(key, vec![kind, from, to]));
    prop::collection::vec(prop_oneof![event, ask], 1..80)
}

fn meets(span: Span, start: i64, end: i64, end_belongs: bool) -> bool {
    let last = if end_belongs { end } else { end - 1 };
    // Whether the range contains any moment of the window.
    (start..=last).any(|at| std::ops::RangeBounds::contains(&span, &at))
}

/// All windows of a key in the table, read in another way.
type Dump = BTreeMap<(i64, i64), Vec<i64>>;

fn dump(test: &mut TopologyTest, windows: &(impl Windows + Clone), key: &str) -> Dump {
    let all = test.table_windows(&kept(), windows).unwrap().into_iter();
    let of_key = all.filter(|window| window.key.key == key);
    // In the order in which they are read: sessions by their end.
    of_key.map(|window| ((window.key.start, window.key.end), window.value)).collect()
}

fn check(
    windows: &(impl Windows + Clone),
    sends_closed: bool,
    steps: &[Step],
    mishaps: &Mishaps,
) -> Result<(), TestCaseError> {
    let end_belongs = windows.naming() != Naming::Start;
    let mut test = TopologyTest::new(topology(windows, sends_closed));
    // A run without mishaps must look the same.
    let mut calm = TopologyTest::new(topology(windows, sends_closed));
    mishaps.begin(&mut test);
    let mut time = 0;
    for (step, what) in steps.iter().enumerate() {
        mishaps.before(step, &mut test);
        match what {
            Step::Event(key, on, ago) => {
                let at = (time + on - ago).max(0);
                time = time.max(at);
                let event = Record::new("k".repeat(*key), step as i64, at);
                calm.send_record(&events(), event.clone()).unwrap();
                test.send_record(&events(), event).unwrap();
            }
            Step::Ask(key, ask) => {
                let key = "k".repeat(*key);
                let time = span(ask);
                test.send_record(&asks(), Record::new(key.clone(), ask.clone(), 0)).unwrap();
                let mut expected: Vec<_> = dump(&mut test, windows, &key)
                    .into_iter()
                    .filter(|((start, end), _)| meets(time, *start, *end, end_belongs))
                    .map(|((start, end), numbers)| (start, end, numbers))
                    .collect();
                if windows.naming() == Naming::EndAndStart {
                    expected.sort_by_key(|(start, end, _)| (*end, *start));
                }
                let found = test.take(&answers()).unwrap();
                prop_assert_eq!(found, vec![(key, expected)], "at step {}", step);
            }
        }
        let found = test.take(&answers_at_once());
        let expected = calm.take(&answers_at_once());
        prop_assert_eq!(found.unwrap(), expected.unwrap(), "at step {}", step);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn windows_are_read_as_they_are_stored(
        kind in 0..5_usize, size in 1..12_i64, advance in 1..12_i64, grace in 0..10_i64,
        retention in 0..60_i64, sends_closed in any::<bool>(), steps in steps(),
        mishaps in Mishaps::any(),
    ) {
        let size = millis(size);
        let grace = millis(grace);
        let retention = millis(retention);
        let advance = millis(advance).min(size);
        match kind {
            0 => {
                let windows = Tumbling::of(size).grace(grace).retention(retention);
                check(&windows, sends_closed, &steps, &mishaps)?;
            }
            1 => {
                let windows = Hopping::of(size, advance).grace(grace).retention(retention);
                check(&windows, sends_closed, &steps, &mishaps)?;
            }
            2 => {
                let windows = Sliding::of(size).grace(grace).retention(retention);
                check(&windows, sends_closed, &steps, &mishaps)?;
            }
            3 => {
                let windows = Session::of(size).grace(grace).retention(retention);
                check(&windows, sends_closed, &steps, &mishaps)?;
            }
            _ => check(&Shifts, sends_closed, &steps, &mishaps)?,
        }
    }

    /// Without the library's own arithmetic: counts of a key per ten milliseconds.
    #[test]
    fn counts_of_the_last_hour_match_a_naive_model(
        steps in prop::collection::vec((0..3_usize, 0..15_i64, 0..80_i64), 1..60),
        mishaps in Mishaps::any(),
    ) {
        let app = Builder::new("model");
        let windows = Tumbling::of(millis(10)).grace(millis(20)).retention(millis(70));
        let counts = Table::<String, u64>::new("counts");
        let found = Topic::new("found");
        app.stream(&events()).group_by_key().window(windows).count(&counts);
        let table = counts.clone();
        let process = app.stream(&events()).process::<String, u64>("sum").reads(&counts);
        let sums = process.each(move |event, cx| {
            let mut sum = 0;
            let time = event.timestamp - 40..=event.timestamp;
            for window in cx.table(&table)?.windows(&event.key, time)? {
                sum += window?.1;
            }
            cx.forward(Record::new(event.key, sum, event.timestamp))
        });
        sums.to(&found);
        let mut test = TopologyTest::new(app.build().unwrap());
        mishaps.begin(&mut test);
        let mut time = 0;
        let mut counted = Vec::<(usize, i64)>::new();
        for (step, (key, on, ago)) in steps.into_iter().enumerate() {
            let at = (time + on - ago).max(0);
            time = time.max(at);
            mishaps.before(step, &mut test);
            test.send_record(&events(), Record::new("k".repeat(key), 1, at)).unwrap();
            let start = at / 10 * 10;
            if start + 30 > time {
                counted.push((key, start));
            }
            let within = |start: i64| start + 10 > at - 40 && start <= at && start + 70 > time;
            let sum = counted.iter().filter(|one| one.0 == key && within(one.1)).count();
            let found = test.take(&found).unwrap();
            prop_assert_eq!(found, vec![("k".repeat(key), sum as u64)], "at step {}", step);
        }
    }
}

/// More windows of a key than fit on a page, and more keys than one.
#[test]
fn many_windows_are_read_page_by_page() {
    let app = Builder::new("t");
    let all = Topic::<String, u64>::new("all");
    let some = Topic::<String, u64>::new("some");
    let day = Duration::from_secs(86_400);
    let tables = ["tumbling", "sessions"].map(Table::<String, u64>::new);
    let asks = events();
    let stream = app.stream(&events()).shared();
    let windows = Tumbling::of(millis(10)).retention(day);
    stream.clone().group_by_key().window(windows).count(&tables[0]);
    stream.clone().group_by_key().window(Session::of(millis(5)).retention(day)).count(&tables[1]);
    let process = stream.process::<String, u64>("read").reads(&tables[0]).reads(&tables[1]);
    let (of_some, some_on) = process.output::<String, u64>();
    let read = process.each(move |event, cx| {
        if event.value == 0 {
            return Ok(());
        }
        for table in &tables {
            let mut starts = Vec::new();
            for window in cx.table(table)?.windows(&event.key, ..)? {
                starts.push(window?.0.start);
            }
            assert!(starts.is_sorted(), "in the order of time");
            cx.forward(Record::new(event.key.clone(), starts.len() as u64, 0))?;
            let first = cx.table(table)?.windows(&event.key, ..)?.take(3).count();
            cx.send(&of_some, Record::new(event.key.clone(), first as u64, 0))?;
        }
        Ok(())
    });
    read.to(&all);
    some_on.to(&some);
    let mut test = TopologyTest::new(app.build().unwrap());
    for number in 0..700_i64 {
        for key in ["a", "ab", "b"] {
            test.queue(&asks, &Record::new(key.to_owned(), 0, number * 10)).unwrap();
        }
    }
    test.run().unwrap();
    test.send_record(&asks, Record::new("ab".to_owned(), 1, 6_990)).unwrap();
    assert_eq!(test.take(&all).unwrap(), [700, 700].map(|n| ("ab".to_owned(), n)));
    assert_eq!(test.take(&some).unwrap(), [3, 3].map(|n| ("ab".to_owned(), n)));
}

/// The session that a payment belongs to, from another topic.
#[test]
fn a_session_is_looked_up_by_a_moment_in_it() {
    let app = Builder::new("t");
    let pays = Topic::<String, i64>::new("pays");
    let out = Topic::<String, u64>::new("out");
    let sessions = Session::of(Duration::from_secs(30)).grace(Duration::from_secs(60));
    let clicks = Table::<String, u64>::new("clicks");
    app.stream(&events()).group_by_key().window(sessions).count(&clicks);
    let table = clicks.clone();
    let process = app.stream(&pays).process::<String, u64>("clicks-before").reads(&clicks);
    let looked_up = process.each(move |pay, cx| {
        let at = pay.timestamp;
        let session = cx.table(&table)?.windows(&pay.key, at..=at)?.next().transpose()?;
        let clicks = session.map_or(0, |(_, clicks)| clicks);
        cx.forward(Record::new(pay.key, clicks, at))
    });
    looked_up.to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for second in [5, 20, 45] {
        test.send_record(&events(), Record::new("ann".into(), 1, second * 1_000)).unwrap();
    }
    for second in [4, 5, 30, 45, 46] {
        test.send_record(&pays, Record::new("ann".into(), 1, second * 1_000)).unwrap();
    }
    let found: Vec<u64> = test.take(&out).unwrap().into_iter().map(|(_, n)| n).collect();
    assert_eq!(found, [0, 3, 3, 3, 0]);
}

/// A windowed table has running results; a table that stores what `suppress` emits has final ones.
#[test]
fn final_results_are_read_from_the_table_that_stores_them() {
    let app = Builder::new("t");
    let second = Duration::from_secs(1);
    let running = Table::<String, u64>::new("running");
    let results = Table::with("results", TimeWindowed::<String>::of(Tumbling::of(second)), Text);
    let counts = app.stream(&events()).group_by_key().window(Tumbling::of(second)).count(&running);
    let closed = counts.into_table().suppress(Suppress::until_window_closes(), "held");
    closed.keep(&results);
    let process = app.stream(&events()).process::<String, String>("read");
    let process = process.reads(&running).reads(&results);
    let out = Topic::<String, String>::new("out");
    let read = process.each(move |event, cx| {
        let Record { key, timestamp, .. } = event;
        let now = cx.table(&running)?.windows(&key, ..)?.collect::<Result<Vec<_>, _>>()?;
        let now: Vec<_> = now.into_iter().map(|(window, n)| (window.start, n)).collect();
        let first = Windowed { key: key.clone(), start: 0, end: 1_000 };
        let closed: Option<u64> = cx.table(&results)?.get(&first)?;
        cx.forward(Record::new(key, format!("{now:?}, {closed:?}"), timestamp))
    });
    read.to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for at in [0, 500, 1_500] {
        test.send_record(&events(), Record::new("a".into(), 1, at)).unwrap();
    }
    let found: Vec<_> = test.take(&out).unwrap().into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, ["[(0, 1)], None", "[(0, 2)], None", "[(1000, 1)], Some(2)"]);
}

/// Which records a reader has seen depends on its position among those of one topic.
#[test]
fn a_reader_sees_what_was_written_up_to_the_current_record() {
    let app = Builder::new("t");
    let counts = Table::<String, u64>::new("counts");
    let out = Topic::<String, u64>::new("out");
    let reader = |name: &str, app: &Builder| {
        let table = counts.clone();
        let process = app.stream(&events()).process::<String, u64>(name).reads(&counts);
        let read = process.each(move |event, cx| {
            let key = event.key;
            let time = event.timestamp..=event.timestamp;
            let found = cx.table(&table)?.windows(&key, time)?.next().transpose()?;
            cx.forward(Record::new(key, found.map_or(0, |(_, n)| n), event.timestamp))
        });
        read.to(&out);
    };
    reader("before", &app);
    app.stream(&events()).group_by_key().window(Tumbling::of(millis(10))).count(&counts);
    reader("behind", &app);
    let mut test = TopologyTest::new(app.build().unwrap());
    for at in [1, 2, 13] {
        test.queue(&events(), &Record::new("a".to_owned(), 1, at)).unwrap();
    }
    test.run().unwrap();
    let found: Vec<u64> = test.take(&out).unwrap().into_iter().map(|(_, n)| n).collect();
    assert_eq!(found, [0, 1, 1, 2, 0, 1]);
}

#[test]
fn errors_name_the_method_that_reads_the_table() {
    let error = |each: fn(&mut headwater::streams::ProcessContext<'_, String, i64>) -> Read| {
        let app = Builder::new("t");
        let windows = Tumbling::of(millis(10));
        app.stream(&events()).group_by_key().window(windows).count(&windowed());
        app.stream(&events()).group_by_key().count(&plain());
        let process = app.stream(&events()).process("read").reads(&windowed()).reads(&plain());
        process.each(move |_, cx| each(cx)).to(&Topic::new("nowhere"));
        let mut test = TopologyTest::new(app.build().unwrap());
        test.send(&events(), "a".into(), 1).unwrap_err().to_string()
    };
    type Read = Result<(), headwater::streams::ProcessError>;
    fn windowed() -> Table<String, u64> {
        Table::new("windowed")
    }
    fn plain() -> Table<String, u64> {
        Table::new("plain")
    }
    let texts = [
        error(|cx| cx.table(&windowed())?.get(&"a".to_owned()).map(drop)),
        error(|cx| cx.table(&windowed())?.range(..).map(drop)),
        error(|cx| cx.table(&windowed())?.entries().map(drop)),
        error(|cx| cx.table(&windowed())?.prefix("a").next().unwrap().map(drop)),
    ];
    for text in texts {
        let hint = "the table windowed has windows: read them with windows(&key, from..to)";
        assert!(text.contains(hint), "{text}");
    }
    let text = error(|cx| cx.table(&plain())?.windows(&"a".to_owned(), ..).map(drop));
    assert!(text.contains("the table plain has no windows: read it with get, range or prefix"));
}
