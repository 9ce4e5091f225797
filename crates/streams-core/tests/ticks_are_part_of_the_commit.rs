//! Ticks come when they are due, and each is committed with its effects. Restarts, aborts and
//! changes of the date neither lose nor repeat a tick.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod bare;

use std::time::Duration;

use bare::{records, task};
use headwater_streams_core::{
    Async, Backoff, Builder, Effects, ErrorPolicy, InternalKind, Missed, OwnedRecord,
    PartitionCount, Record, Resume, Table, Task, Tick, Topic, Topology,
};
use headwater_testkit::TopologyTest;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600_000;
const NOON: i64 = 1_700_000_000_000 / HOUR * HOUR;

fn out() -> Topic<String, Tick> {
    Topic::json("out")
}

fn every_second(missed: Missed) -> Topology {
    let app = Builder::new("t");
    app.every("beat", SECOND).missed(missed).to(&out());
    app.build().expect("valid")
}

fn by_cron(expression: &str, zone: &str, missed: Missed) -> Topology {
    let app = Builder::new("t");
    app.cron("beat", expression, zone).missed(missed).to(&out());
    app.build().expect("valid")
}

fn times(test: &mut TopologyTest) -> Vec<i64> {
    test.take(&out()).expect("decodes").into_iter().map(|(_, tick)| tick.time).collect()
}

fn advance(test: &mut TopologyTest, millis: u64) {
    test.advance(Duration::from_millis(millis)).expect("runs");
}

/// What a task on its own does by a date, and what it commits then.
fn turn(task: &mut Task, now: i64) -> (Vec<Tick>, Resume) {
    let mut effects = Effects::new();
    while task.step(now, 10, &mut effects).expect("steps").more {}
    let ticks = effects
        .iter()
        .map(|effect| serde_json::from_slice(effect.value.expect("a value")).expect("a tick"));
    let ticks = ticks.collect();
    let mut commit = task.prepare_commit(&mut effects).expect("prepared");
    task.committed(&[], now).expect("kept");
    let metadata = commit.offsets.remove(0).metadata;
    (ticks, Resume { offset: 0, metadata, committed: true })
}

/// The times at which a topology acts in its next run.
fn next_life(topology: Topology, resume: &Resume, now: i64) -> Vec<i64> {
    let mut task = task(topology);
    task.resume(std::slice::from_ref(resume), now).expect("resumes");
    turn(&mut task, now).0.iter().map(|tick| tick.time).collect()
}

#[test]
fn a_tick_knows_the_one_before_it() {
    let mut test = TopologyTest::new(every_second(Missed::One)).at(NOON);
    for millis in [400, 400, 400, 2_900, 900] {
        advance(&mut test, millis);
    }
    let ticks = test.take_records(&out()).expect("decodes");
    let expected = [(1_000, 0), (4_000, 1_000), (5_000, 4_000)];
    let expected = expected.map(|(time, previous)| {
        let tick = Tick { time: NOON + time, previous: NOON + previous };
        Record::new("beat".to_owned(), tick, tick.time)
    });
    assert_eq!(ticks, expected);
}

#[test]
fn an_aborted_tick_comes_again_and_a_committed_one_does_not() {
    for missed in [Missed::One, Missed::All, Missed::None] {
        let mut test = TopologyTest::new(every_second(missed));
        advance(&mut test, 900);
        let mut aborts = 3;
        test.abort_when(move |_| {
            aborts -= 1;
            aborts >= 0
        });
        advance(&mut test, 100);
        test.crash().expect("restores");
        test.crash().expect("restores");
        assert_eq!(times(&mut test), [1_000]);
        advance(&mut test, 1_000);
        assert_eq!(times(&mut test), [2_000]);
    }
}

#[test]
fn frequent_crashes_do_not_postpone_ticks_endlessly() {
    let mut test = TopologyTest::new(every_second(Missed::One));
    for _ in 0..10 {
        advance(&mut test, 400);
        test.crash().expect("restores");
    }
    assert_eq!(times(&mut test), [1_000, 2_000, 3_000, 4_000]);
}

#[test]
fn ticks_missed_while_nothing_ran_follow_their_setting() {
    let hourly = |missed| by_cron("0 0 * * * *", "UTC", missed);
    let mut first = task(hourly(Missed::One));
    first.resume(&[Resume { committed: false, ..resume("") }], NOON).expect("resumes");
    assert!(first.is_dirty(), "when it first started is committed before any tick");
    let (ticks, kept) = turn(&mut first, NOON + 1);
    assert_eq!(ticks, []);
    let after = |missed| next_life(hourly(missed), &kept, NOON + 5 * HOUR / 2);
    assert_eq!(after(Missed::All), [NOON + HOUR, NOON + 2 * HOUR]);
    assert_eq!(after(Missed::One), [NOON + 2 * HOUR]);
    assert_eq!(after(Missed::None), [0_i64; 0]);
    // A restart takes a moment, which does not count.
    let soon_after = next_life(hourly(Missed::None), &kept, NOON + 2 * HOUR + 30_000);
    assert_eq!(soon_after, [NOON + 2 * HOUR]);
}

fn resume(metadata: &str) -> Resume {
    Resume { offset: 0, metadata: metadata.to_owned(), committed: true }
}

#[test]
fn a_missed_week_is_made_up_for_in_portions() {
    let mut first = task(every_second(Missed::All));
    first.resume(&[resume("")], NOON).expect("resumes");
    let mut kept = turn(&mut first, NOON).1;
    let week = NOON + 7 * 24 * HOUR;
    let mut count = 0;
    // One run for each portion: what is committed in between is enough to continue.
    for _ in 0..3 {
        let mut task = task(every_second(Missed::All));
        task.resume(&[kept], week).expect("resumes");
        let mut effects = Effects::new();
        let step = task.step(week, 1_000, &mut effects).expect("steps");
        assert!(step.more && step.processed <= 1_000, "{step:?}");
        count += effects.len() as i64;
        let first = effects.iter().next().map(|effect| effect.timestamp);
        assert_eq!(first, Some(NOON + (count - 999) * 1_000));
        kept = resume(&task.prepare_commit(&mut effects).expect("prepared").offsets[0].metadata);
    }
    assert_eq!(count, 3_000);
}

#[test]
fn a_new_schedule_continues_where_the_old_one_was() {
    let mut first = task(by_cron("0 0 * * * *", "UTC", Missed::All));
    first.resume(&[resume("")], NOON).expect("resumes");
    let (ticks, kept) = turn(&mut first, NOON + HOUR);
    assert_eq!(ticks.len(), 1);
    // It is half an hour off, so none of its times occurred before.
    let kolkata =
        next_life(by_cron("0 0 * * * *", "Asia/Kolkata", Missed::All), &kept, NOON + 2 * HOUR);
    assert_eq!(kolkata, [NOON + 3 * HOUR / 2]);
    let half = next_life(by_cron("0 */30 * * * *", "UTC", Missed::All), &kept, NOON + 2 * HOUR);
    assert_eq!(half, [NOON + 3 * HOUR / 2, NOON + 2 * HOUR]);
    let app = Builder::new("t");
    app.every("beat", 25 * 60 * SECOND).missed(Missed::All).to(&out());
    let every = next_life(app.build().expect("valid"), &kept, NOON + 2 * HOUR);
    assert_eq!(every, [85, 110].map(|minutes| NOON + minutes * 60_000));
}

#[test]
fn setting_the_date_neither_delays_nor_hurries_an_interval() {
    let mut test = TopologyTest::new(every_second(Missed::All)).at(NOON);
    let mut all = Vec::new();
    for date in [NOON, NOON - HOUR, NOON + 7 * HOUR, NOON, 0, NOON] {
        test.set_date(date).expect("runs");
        let mut count = 0;
        for _ in 0..30 {
            advance(&mut test, 100);
            let new = times(&mut test);
            count += new.len();
            all.extend(new);
        }
        assert_eq!(count, 3, "after the date {date}");
    }
    assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
}

#[test]
fn setting_the_date_between_two_runs_costs_one_interval() {
    let mut test = TopologyTest::new(every_second(Missed::One)).at(NOON);
    let mut all = Vec::new();
    for date in [NOON, NOON - HOUR, NOON + 7 * HOUR, NOON] {
        test.set_date(date).expect("runs");
        test.crash().expect("restores");
        let before = all.len();
        for _ in 0..30 {
            advance(&mut test, 100);
            all.extend(times(&mut test));
        }
        let count = all.len() - before;
        assert!((2..=4).contains(&count), "{count} after the date {date}");
    }
    assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
}

#[test]
fn setting_the_date_back_by_an_hour_repeats_no_hourly_tick() {
    for crashes in [false, true] {
        let mut test = TopologyTest::new(by_cron("0 0 * * * *", "UTC", Missed::All)).at(NOON);
        let minutes = |test: &mut TopologyTest, count| {
            (0..count).for_each(|_| advance(test, 60_000));
            times(test)
        };
        assert_eq!(minutes(&mut test, 65), [NOON + HOUR]);
        test.set_date(NOON + 5 * 60_000).expect("runs");
        if crashes {
            test.crash().expect("restores");
        }
        assert_eq!(minutes(&mut test, 114), [0_i64; 0]);
        assert_eq!(minutes(&mut test, 2), [NOON + 2 * HOUR]);
        // Set forward by an hour: the ticks in between were missed.
        test.set_date(NOON + 3 * HOUR + 60_000).expect("runs");
        if crashes {
            test.crash().expect("restores");
        }
        assert_eq!(minutes(&mut test, 1), [NOON + 3 * HOUR]);
    }
}

#[test]
fn the_night_in_which_clocks_go_back_has_one_report() {
    // 2024-10-26T12:00:00Z. Clocks in Berlin go back at 01:00Z.
    let noon = 1_729_944_000_000;
    let mut test =
        TopologyTest::new(by_cron("0 30 2 * * *", "Europe/Berlin", Missed::One)).at(noon);
    for _ in 0..24 * 4 {
        advance(&mut test, 15 * 60_000);
    }
    assert_eq!(times(&mut test), [noon + 25 * HOUR / 2]);
}

#[test]
fn a_task_that_waits_for_a_tick_wakes_for_it_and_for_nothing_else() {
    let mut every = task(every_second(Missed::One));
    assert_eq!(every.next_wakeup(), Some(1_000));
    every.step(1_700, 1, &mut Effects::new()).expect("steps");
    assert_eq!(every.next_wakeup(), Some(2_000));
    let mut hourly = task(by_cron("0 0 * * * *", "UTC", Missed::One));
    hourly.step(5, 1, &mut Effects::new()).expect("steps");
    assert_eq!(hourly.next_wakeup(), Some(HOUR));
    assert!(!hourly.is_ready());
}

fn sums() -> Topic<String, i64> {
    Topic::new("sums")
}

/// Ticks that count themselves in their own table, and pass through a repartition topic.
fn counted(policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    app.on_error(policy);
    let count = Table::<String, i64>::new("count");
    let table = Table::new("count");
    app.every("beat", SECOND)
        .process::<String, i64>("counting")
        .table(&count)
        .each(move |tick, context| {
            let mut counts = context.table(&table)?;
            let before: i64 = counts.get(&tick.key)?.unwrap_or(0);
            counts.put(&tick.key, &(before + 1))?;
            let is_bad = tick.value.time == 2_000;
            context.forward(Record::new(tick.key, before + 1, tick.timestamp))?;
            if is_bad {
                Err("not this one".parse::<i64>().expect_err("no number"))?
            }
            Ok(())
        })
        .group_by("by-parity", |_, n| if n % 2 == 0 { "even" } else { "odd" }.to_owned())
        .reduce(&Table::new("sums"), |sum, n| sum + n)
        .to(&sums());
    app.build().expect("valid")
}

#[test]
fn a_failed_tick_is_undone_and_skipped() {
    for policy in [ErrorPolicy::Skip, retried(ErrorPolicy::Skip)] {
        is_passed_over(policy);
    }
}

/// A tick is not retried.
fn retried(then: ErrorPolicy) -> ErrorPolicy {
    ErrorPolicy::retry(5, Backoff::fixed(Duration::from_secs(60))).then(then)
}

fn is_passed_over(policy: ErrorPolicy) {
    let mut test = TopologyTest::new(counted(policy));
    (0..4).for_each(|_| advance(&mut test, 1_000));
    let sums = test.take(&sums()).expect("decodes");
    let expected = [("odd", 1), ("even", 2), ("odd", 4)];
    assert_eq!(sums, expected.map(|(key, sum)| (key.to_owned(), sum)));
    assert_eq!(
        test.table(&Table::<String, i64>::new("count"), &"beat".into()).expect("reads"),
        Some(3)
    );
    let metrics = test.metrics();
    assert_eq!((metrics.processed - 3, metrics.skipped), (4, 1));
    assert!(test.failed()[0].contains("on the tick of beat at 2000"), "{:?}", test.failed());
}

#[test]
fn a_failed_tick_is_a_dead_letter_as_json() {
    let mut test = TopologyTest::new(counted(ErrorPolicy::dead_letter("dead")));
    (0..4).for_each(|_| advance(&mut test, 1_000));
    let letters = test.take_raw("dead");
    let [OwnedRecord { key, value, timestamp, .. }] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!((key.as_deref(), *timestamp), (Some(&b"beat"[..]), 2_000));
    assert_eq!(value.as_deref(), Some(&br#"{"time":2000,"previous":1000}"#[..]));
}

#[test]
fn a_failed_tick_stops_the_task_and_is_named() {
    let mut test = TopologyTest::new(counted(ErrorPolicy::Fail));
    advance(&mut test, 1_000);
    let error = test.advance(SECOND).expect_err("stops").to_string();
    assert!(error.contains("t-beat-ticks-0"), "{error}");
    assert!(error.contains("on the tick of beat at 2000: "), "{error}");
    let app = Builder::new("t");
    app.every("beat", SECOND).map_values(|_| -> i64 { panic!("oh") }).to(&sums());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let error = test.advance(SECOND).expect_err("stops").to_string();
    assert!(error.contains("on the tick of beat at 1000: ") && error.contains("oh"), "{error}");
}

#[test]
fn records_in_the_topic_are_ignored() {
    let mut test = TopologyTest::new(every_second(Missed::One));
    test.queue_raw("t-beat-ticks", 0, OwnedRecord::default());
    advance(&mut test, 1_000);
    test.crash().expect("restores");
    assert_eq!(times(&mut test), [1_000]);
}

#[test]
fn several_schedules_come_in_the_order_of_their_times() {
    let app = Builder::new("t");
    let fast = app.every("fast", 2 * SECOND).missed(Missed::All);
    fast.merge(app.every("slow", 3 * SECOND).missed(Missed::All)).to(&out());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    advance(&mut test, 9_000);
    let ticks = test.take(&out()).expect("decodes").into_iter();
    let ticks: Vec<_> = ticks.map(|(name, tick)| (name, tick.time / 1_000)).collect();
    let expected =
        [("fast", 2), ("slow", 3), ("fast", 4), ("fast", 6), ("slow", 6), ("fast", 8), ("slow", 9)];
    assert_eq!(ticks, expected.map(|(name, time)| (name.to_owned(), time)));
}

#[test]
fn records_that_are_merged_with_ticks_do_not_wait_for_them() {
    let app = Builder::new("t");
    let ticks = app.every("beat", SECOND).map_values(|tick| tick.time);
    app.stream(&Topic::<String, i64>::new("numbers")).merge(ticks).to(&sums());
    let mut task = task(app.build().expect("valid"));
    // Neither log has reported that there is nothing more, and the task waits for both.
    (0..2).for_each(|input| task.observe(input, false, true));
    task.enqueue(1, records(&[("a", 7)]));
    assert_eq!(task.missing().collect::<Vec<_>>(), [0_usize; 0]);
    let mut effects = Effects::new();
    assert_eq!(task.step(1_000, 10, &mut effects).expect("steps").processed, 2);
    let keys: Vec<_> = effects.iter().map(|effect| effect.key.map(<[u8]>::to_vec)).collect();
    assert_eq!(keys, [Some(b"beat".to_vec()), Some(b"a".to_vec())]);
}

#[test]
fn each_task_of_a_stream_has_its_own_ticks() {
    let app = Builder::new("t");
    let numbers = Topic::<String, i64>::new("numbers");
    let input = app.stream(&numbers);
    let ticks = input.every("beat", SECOND);
    input.to(&Topic::new("copies"));
    ticks.to(&out());
    let topology = app.build().expect("valid");
    assert_eq!(topology.sub_topologies().len(), 1);
    assert!(topology.internal_topics().is_empty());
    let mut test = TopologyTest::with_partitions(topology, &[("numbers", 3)]);
    for _ in 0..2 {
        advance(&mut test, 1_000);
        test.crash().expect("restores");
    }
    assert_eq!(times(&mut test), [1_000, 1_000, 1_000, 2_000, 2_000, 2_000]);
}

#[test]
fn its_topic_is_one_partition_and_is_named() {
    let topology = counted(ErrorPolicy::Fail);
    let topics = topology.internal_topics().iter();
    let ticks: Vec<_> = topics.filter(|topic| topic.kind == InternalKind::Ticks).collect();
    assert_eq!(ticks.len(), 1);
    assert_eq!(
        (&*ticks[0].name, &ticks[0].partitions),
        ("t-beat-ticks", &PartitionCount::Exactly(1))
    );
    let described = topology.describe();
    let text = described.to_string();
    assert!(text.contains("ticks beat, every 1s\n    process counting [count]"), "{text}");
    assert!(text.contains("creates t-beat-ticks, a topic of ticks without records"), "{text}");
    assert!(described.mermaid().contains("t_t-beat-ticks[(t-beat-ticks)] --> n0"));
    assert!(topology.shape().contains("ticks by t-beat-ticks"), "{:?}", topology.shape());
}

#[test]
fn mistakes_are_found_before_start() {
    let problems = |describe: &dyn Fn(&Builder)| {
        let app = Builder::new("t");
        describe(&app);
        app.build().err().expect("must not build").to_string()
    };
    let cron = |expression: &'static str, zone: &'static str| {
        problems(&|app| app.cron("nightly", expression, zone).to(&out()))
    };
    for (expression, zone, words) in [
        (
            "0 61 * * * *",
            "UTC",
            "nightly, by \"0 61 * * * *\" in \"UTC\": \"61\" is not a valid minute",
        ),
        ("0 0 3 * * *", "Europe/Berln", "\"Europe/Berln\" is not a time zone"),
        ("@daily", "UTC", "it has 1 fields"),
        ("0 0 0 30 2 *", "UTC", "it names only days that never come"),
    ] {
        let problems = cron(expression, zone);
        assert!(problems.contains(words), "{problems}");
    }
    let none = problems(&|app| app.every("beat", Duration::ZERO).to(&out()));
    assert!(
        none.contains("the ticks beat, every 0ns: the interval must be at least 1 ms"),
        "{none}"
    );
    let unused = problems(&|app| drop(app.every("beat", SECOND)));
    assert!(unused.contains("the ticks beat are never used"), "{unused}");
    let twice = problems(&|app| (0..2).for_each(|_| app.every("beat", SECOND).to(&out())));
    assert!(twice.contains("the name beat of ticks is used twice"), "{twice}");
    let called = problems(&|app| {
        let calls =
            app.every("beat", SECOND).map_async("ask", Async::in_flight(2), |call| async move {
                Ok::<_, std::fmt::Error>(call.record.value.time)
            });
        calls.to(&sums());
    });
    assert!(called.contains(".repartition(") && called.contains(".map_async(\"ask\")"), "{called}");
    let bad_name = problems(&|app| app.every("a/b", SECOND).to(&out()));
    assert!(bad_name.contains("the ticks \"a/b\" has characters"), "{bad_name}");
    let taken = problems(&|app| {
        app.every("beat", SECOND).to(&out());
        app.stream(&Topic::<String, i64>::new("t-beat-ticks")).to(&sums());
    });
    assert!(taken.contains("t-beat-ticks"), "{taken}");
    let grouped = problems(&|app| {
        let input = app.stream(&sums());
        let ticks = input.every("beat", SECOND);
        input.to(&Topic::new("copies"));
        ticks.group_by_key().count(&Table::new("counts")).to(&Topic::new("counts"));
    });
    assert!(grouped.contains("group_by_key after an operator that changes the key"), "{grouped}");
}
