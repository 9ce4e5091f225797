//! User-defined windows may have different lengths: each is closed, suppressed, retained and named
//! by its own.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod calendar;

use std::time::Duration;

use calendar::{CalendarDays, HOUR, name};
use headwater_streams_core::codec::{Json, Text};
use headwater_streams_core::window::TimeWindowed;
use headwater_streams_core::{
    BufferFull, Builder, Record, Repartition, Suppress, Table, Topic, Topology, Windowed,
};
use headwater_testkit::TopologyTest;

type Key = String;

fn sales() -> Topic<Key, i64> {
    Topic::new("sales")
}

fn totals() -> Topic<Key, u64> {
    Topic::new("totals")
}

fn table() -> Table<Key, u64> {
    Table::new("sales-by-day")
}

/// The last days of March; the third one, from hour 48 on, has 23 hours. The eighth, from hour 167
/// on, has 25.
fn days() -> CalendarDays {
    CalendarDays::with_daylight_saving().grace(HOUR)
}

fn closed(days: CalendarDays) -> Topology {
    let app = Builder::new("shop");
    let counts = app.stream(&sales()).group_by_key().window(days).count(&table());
    counts.closed().map(|window, n| (name(&window), n)).to(&totals());
    app.build().expect("valid")
}

fn suppressed(days: CalendarDays) -> Topology {
    let app = Builder::new("shop");
    let counts = app.stream(&sales()).group_by_key().window(days).count(&table());
    let until = Suppress::until_window_closes().when_full(BufferFull::Fail);
    let finals = counts.into_table().suppress(until, "final-totals").to_stream();
    finals.map(|window, n| (name(&window), n.unwrap_or_default())).to(&totals());
    app.build().expect("valid")
}

fn send(test: &mut TopologyTest, ms: i64) {
    test.send_record(&sales(), Record::new("tea".to_owned(), 1, ms)).expect("processed");
}

fn taken(test: &mut TopologyTest) -> Vec<(String, u64)> {
    test.take(&totals()).expect("decodes")
}

/// Sends a record at noon of each day, one just before the day and its grace are over, and one
/// exactly then. Checks which of them releases the result.
fn each_day_ends_by_itself(mut test: TopologyTest, crashes: bool) {
    let days = days();
    for (day, ends) in days.bounds().windows(2).take(9).enumerate() {
        let start = ends[0];
        let end = ends[1];
        send(&mut test, end - HOUR);
        taken(&mut test);
        send(&mut test, end + HOUR - 1);
        assert_eq!(taken(&mut test), [], "day {day} is not over");
        if crashes {
            test.crash().expect("restores");
        }
        send(&mut test, end + HOUR);
        let n = if day == 0 { 1 } else { 3 };
        let hours = format!("tea {}..{}", start / HOUR, end / HOUR);
        assert_eq!(taken(&mut test), [(hours, n)], "day {day}");
    }
}

#[test]
fn each_window_closes_when_it_is_over() {
    each_day_ends_by_itself(TopologyTest::new(closed(days())), false);
    each_day_ends_by_itself(TopologyTest::new(closed(days())), true);
    let kept_long = days().retention(1_000 * HOUR);
    each_day_ends_by_itself(TopologyTest::new(closed(kept_long)), true);
}

#[test]
fn each_window_is_emitted_when_it_is_final() {
    each_day_ends_by_itself(TopologyTest::new(suppressed(days())), false);
    each_day_ends_by_itself(TopologyTest::new(suppressed(days())), true);
}

#[test]
fn idle_input_closes_each_window_when_it_is_over() {
    let hour = Duration::from_secs(3600);
    let mut test = TopologyTest::new(closed(days().idle_after(1_000)));
    for (day, hours) in [(2, 23), (7, 25)] {
        let start = days().bounds()[day];
        let end = days().bounds()[day + 1];
        send(&mut test, start);
        taken(&mut test);
        test.advance(hour * hours).expect("runs");
        assert_eq!(taken(&mut test), [], "it lasts {hours} hours, and one for those who are late");
        test.advance(hour).expect("runs");
        let expected = format!("tea {}..{}", start / HOUR, end / HOUR);
        assert_eq!(taken(&mut test), [(expected, 1)]);
    }
}

#[test]
fn no_window_is_deleted_before_it_is_closed() {
    let mut test = TopologyTest::new(closed(days()));
    let start = days().bounds()[7];
    let end = days().bounds()[8];
    send(&mut test, start);
    // With another key, past the end of an ordinary day.
    let other = Record::new("coffee".to_owned(), 1, end + HOUR - 1);
    test.send_record(&sales(), other).expect("processed");
    send(&mut test, start + 1);
    let kept = test.table_windows(&table(), &days()).expect("reads");
    let kept: Vec<_> = kept.into_iter().map(|row| (name(&row.key), row.value)).collect();
    let window = |key, day| {
        let key = Windowed { key, start: days().bounds()[day], end: days().bounds()[day + 1] };
        name(&key)
    };
    let expected = [(window("tea".to_owned(), 7), 2), (window("coffee".to_owned(), 8), 1)];
    assert_eq!(kept, expected);
    assert_eq!(test.metrics().dropped_late, 0);
}

/// Topics and tables store only a window's start.
#[test]
fn each_window_has_its_own_end_wherever_it_is_read_back() {
    let per_day = Topic::<_, u64>::with("per-day", TimeWindowed::<Key>::of(days()), Text);
    let kept = Table::<Windowed<Key>, u64>::with("kept", TimeWindowed::of(days()), Text);
    let twice = Topic::<_, (u64, u64)>::with("twice", TimeWindowed::of(days()), Json);
    let app = Builder::new("shop");
    let counts = app.stream(&sales()).group_by_key().window(days()).count(&table()).into_table();
    counts.keep(&kept).to_stream().map_values(|n| n.unwrap_or_default()).to(&per_day);
    let windows = counts.to_stream().map_values(|n| n.unwrap_or_default());
    // Through another topic, to be joined with the table there.
    let codec = TimeWindowed::<Key>::of(days());
    let own = |window: &Windowed<Key>, _: &u64| window.clone();
    let windows = windows.group_by(Repartition::new("by-window", codec, Text), own);
    let again = windows.reduce(&Table::with("again", TimeWindowed::of(days()), Text), |_, n| n);
    let both = again.into_table().join(
        &app.table(&per_day, &Table::with("per-day", TimeWindowed::of(days()), Text)),
        |_, one, other| (*one, *other),
    );
    both.to_stream().map_values(|both| both.unwrap_or_default()).to(&twice);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let mut expected = Vec::new();
    for ends in days().bounds().windows(2) {
        test.send_record(&sales(), Record::new("tea".into(), 1, ends[0])).expect("processed");
        expected.push(format!("tea {}..{}", ends[0] / HOUR, ends[1] / HOUR));
    }
    let names = |windows: Vec<Windowed<Key>>| windows.iter().map(name).collect::<Vec<_>>();
    let sent = test.take(&per_day).expect("decodes");
    assert_eq!(names(sent.into_iter().map(|(window, _)| window).collect()), expected);
    let rows = test.table_rows(&kept).expect("decodes");
    assert_eq!(names(rows.into_iter().map(|row| row.key).collect()), expected);
    let joined = test.take(&twice).expect("decodes");
    let mut joined = names(joined.into_iter().map(|(window, _)| window).collect());
    joined.dedup();
    assert_eq!(joined, expected);
    let windows = test.table_windows(&table(), &days()).expect("decodes");
    let last = windows.last().expect("the last day is kept");
    assert_eq!(Some(&name(&last.key)), expected.last());
}

#[test]
fn windows_of_several_streams_close_when_they_are_over() {
    let returns = Topic::<Key, i64>::new("returns");
    let app = Builder::new("shop");
    let add = |all: &mut u64, _: &Key, _: i64| *all += 1;
    let both = app.stream(&sales()).group_by_key().cogroup(add);
    let both = both.with(app.stream(&returns).group_by_key(), add);
    let counts = both.window(days()).aggregate(&table(), || 0);
    counts.closed().map(|window, n| (name(&window), n)).to(&totals());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (start, end) in days().bounds().windows(2).take(9).map(|ends| (ends[0], ends[1])) {
        // From both streams, of which one is ahead.
        test.send_record(&returns, Record::new("tea".into(), 1, end - 1)).expect("processed");
        send(&mut test, end - 1);
        send(&mut test, end + HOUR);
        assert_eq!(taken(&mut test), [], "the other one has not passed it");
        test.crash().expect("restores");
        test.send_record(&returns, Record::new("tea".into(), 1, end + HOUR)).expect("processed");
        let hours = format!("tea {}..{}", start / HOUR, end / HOUR);
        let n = if start == 0 { 2 } else { 4 };
        assert_eq!(taken(&mut test), [(hours, n)]);
    }
}
