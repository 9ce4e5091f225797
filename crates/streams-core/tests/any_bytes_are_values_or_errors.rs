//! Any bytes in a topic, a changelog or the metadata of an offset are read as a value or are an
//! error. They cause no panic, no endless work, and no value that could not be read back.

mod hostile;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_streams_core::codec::{Bytes, Codec, Json, Text};
use headwater_streams_core::window::{SessionWindowed, TimeWindowed};
use headwater_streams_core::{
    Backoff, Builder, Effects, ErrorPolicy, Headers, Hopping, JoinBuffers, JoinWindows, Natural,
    OwnedBatch, OwnedRecord, Resume, Session, Sliding, StoreProvider, Suppress, Table, Task,
    TaskError, TaskId, Topic, Topology, Tumbling, Windowed,
};
use headwater_testkit::faults::SurvivingStores;
use headwater_testkit::{Dice, TestError, TopologyTest};
use hostile::{damaged, fuzz, number, one_of, random};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Number(f64),
    Text(String),
    Branch { left: Option<Box<Tree>>, right: Vec<Tree> },
    Named(BTreeMap<u64, Tree>, Option<Option<i8>>),
    Small(Newtype, (u8, i16, char, bool), f32),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Option<Vec<u8>>);

fn tree(dice: &mut Dice, levels: usize) -> Tree {
    let below = levels.saturating_sub(1);
    let list = |dice: &mut Dice| (0..dice.below(3)).map(|_| tree(dice, below)).collect::<Vec<_>>();
    match if levels == 0 { dice.below(3) } else { dice.below(6) } {
        0 => Tree::Leaf,
        1 => Tree::Number(number(dice) as f64 / 7.0),
        2 => Tree::Text(String::from_utf8_lossy(&random(dice, 12)).into_owned()),
        3 => {
            let left = (dice.below(2) == 0).then(|| Box::new(tree(dice, below)));
            Tree::Branch { left, right: list(dice) }
        }
        4 => {
            let named = list(dice).into_iter().map(|tree| (number(dice) as u64, tree)).collect();
            let odd = *one_of(dice, &[None, Some(Some(-1))]);
            Tree::Named(named, odd)
        }
        _ => {
            let bytes = (dice.below(2) == 0).then(|| random(dice, 5));
            Tree::Small(Newtype(bytes), (7, number(dice) as i16, 'é', true), -0.0)
        }
    }
}

/// A value is read back from its bytes. What is read from any bytes can be written and read back
/// too.
fn holds<T>(dice: &mut Dice, codec: &impl Codec<T>, value: T) {
    let written = |value: &T| {
        let mut bytes = Vec::new();
        let is_there = codec.encode(value, &mut bytes)?;
        Ok::<_, headwater_streams_core::CodecError>(is_there.then_some(bytes))
    };
    let again = |value: &T, what: &[u8]| {
        let bytes = written(value).unwrap_or_else(|error| panic!("{error}: {what:?}"));
        let back = codec.decode(bytes.as_deref());
        let back = back.unwrap_or_else(|error| panic!("{error}: {what:?}"));
        assert_eq!(written(&back).expect("written before"), bytes, "{what:?}");
        bytes.unwrap_or_default()
    };
    let bytes = again(&value, b"");
    for _ in 0..20 {
        let bytes = if dice.below(4) == 0 { random(dice, 40) } else { damaged(dice, &bytes) };
        if let Ok(value) = codec.decode(Some(&bytes)) {
            again(&value, &bytes);
        }
    }
}

#[test]
fn bytes_of_codecs() {
    fuzz(4, |dice| {
        let one = tree(dice, 4);
        holds(dice, &Json, one.clone());
        holds(dice, &Json, Some(one.clone()));
        #[cfg(feature = "postcard")]
        holds(dice, &headwater_streams_core::codec::Postcard, one.clone());
        #[cfg(feature = "bincode")]
        holds(dice, &headwater_streams_core::codec::Bincode::<1_048_576>, one);
        let float = number(dice) as f64 / 3.0;
        let text = format!("{}", number(dice));
        holds(dice, &Json, float);
        holds(dice, &Text, float);
        holds(dice, &Bytes, float);
        let whole = number(dice);
        let natural = Some(number(dice) as u64);
        holds(dice, &Text, whole);
        holds(dice, &String::codec(), text.clone());
        holds(dice, &Option::<u64>::codec(), natural);
        let start = number(dice).rem_euclid(1 << 50);
        let windowed = Windowed { key: text, start, end: start + 1_000 };
        holds(dice, &TimeWindowed::of(Tumbling::of(Duration::from_secs(1))), windowed.clone());
        holds(dice, &SessionWindowed::new(), windowed);
    });
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A topology with every kind of state.
fn everything() -> Topology {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let left = Topic::<String, i64>::new("left");
    let right = Topic::<String, i64>::new("right");
    let stream = app.stream(&left).shared();
    let sum = |a: i64, b: i64| a.wrapping_add(b);
    stream.clone().group_by_key().reduce(&Table::json("sums"), sum);
    let hopping = Hopping::of(seconds(10), seconds(5)).grace(seconds(3)).idle_after(seconds(60));
    let windows = stream.clone().group_by_key().window(hopping);
    windows.reduce(&Table::json("hopping"), sum).closed().select_key(|_, _| 1).to(&Topic::new("o"));
    let sessions = stream.clone().group_by_key().window(Session::of(seconds(4)).grace(seconds(2)));
    let sessions = sessions.reduce(&Table::json("sessions"), sum).into_table();
    sessions.suppress(Suppress::until_window_closes().max_records(50), "final");
    let sliding = stream.clone().group_by_key().window(Sliding::of(seconds(3)));
    sliding.reduce(&Table::json("sliding"), sum);
    let latest = stream.clone().to_table(&Table::json("latest"));
    let limit = Suppress::until_time_limit(seconds(5)).max_bytes(600);
    let held = latest.suppress(limit, "held");
    let windows = JoinWindows::of(seconds(2), seconds(4)).grace(seconds(1));
    let buffers = JoinBuffers::json("pairs");
    let other = app.stream(&right).shared();
    let pairs = stream.outer_join(other.clone(), windows, &buffers, |_, l, r| l.or(r).copied());
    pairs.to(&Topic::json("pairs"));
    let others = other.to_table(&Table::json("others"));
    let points_to = |_: &String, value: &i64| Some(format!("k{}", value.rem_euclid(3)));
    held.fk_left_join(&others, &Table::json("foreign"), points_to, |_, l, r| {
        l.wrapping_add(r.copied().unwrap_or(0))
    });
    let retry = ErrorPolicy::retry(9, Backoff::fixed(seconds(3)).jitter(50));
    let consumed = Topic::<String, i64>::new("calls")
        .consumed()
        .on_error(retry.hold_key().then(ErrorPolicy::Skip));
    app.stream(consumed)
        .try_filter(|_, value| if value % 4 == 0 { Err("away") } else { Ok(true) })
        .to(&Topic::new("called"));
    app.build().expect("valid")
}

const TABLES: [&str; 14] = [
    "calls-retries",
    "sums",
    "hopping",
    "sessions",
    "final",
    "sliding",
    "latest",
    "held",
    "pairs-left",
    "pairs-right",
    "pairs-unmatched",
    "others",
    "foreign-versions",
    "foreign-subscriptions",
];

fn record(dice: &mut Dice, at_s: i64) -> OwnedRecord {
    let key = format!("k{}", dice.below(3));
    let mut headers = Headers::new();
    (0..dice.below(3)).for_each(|n| headers.push("h", (n > 0).then_some(b"\x04")));
    OwnedRecord {
        offset: 0,
        timestamp: at_s * 1000,
        key: Some(key.into_bytes().into()),
        value: Some((dice.below(9) as i64).to_be_bytes().into()),
        headers,
    }
}

/// Sends a few records, each with its effects.
fn feed(dice: &mut Dice, test: &mut TopologyTest, at_s: &mut i64) -> Result<(), TestError> {
    for _ in 0..dice.below(12) {
        *at_s += dice.below(5) as i64 - 1;
        let topic = *one_of(dice, &["left", "right", "calls"]);
        let record = record(dice, (*at_s).max(0));
        test.send_raw(topic, record)?;
    }
    test.advance(seconds(dice.below(90) as u64))
}

fn hurt(dice: &mut Dice, bytes: Option<&[u8]>) -> Option<Box<[u8]>> {
    match dice.below(8) {
        0 => None,
        1 => Some(random(dice, 40).into()),
        2..5 => bytes.map(Into::into),
        _ => Some(damaged(dice, bytes.unwrap_or_default()).into()),
    }
}

/// A damaged record of an internal topic, or one with random contents.
fn hostile(dice: &mut Dice, valid: &[OwnedRecord]) -> OwnedRecord {
    let none = OwnedRecord::default();
    let one = if valid.is_empty() { &none } else { one_of(dice, valid) };
    let timestamp = if dice.below(3) == 0 { number(dice) } else { one.timestamp };
    let key = hurt(dice, one.key.as_deref());
    let value = hurt(dice, one.value.as_deref());
    OwnedRecord { offset: 0, timestamp, key, value, headers: Headers::new() }
}

/// The error is about what was read, and is not a caught panic.
fn is_no_panic(result: Result<(), TestError>, test: &TopologyTest) {
    let error = result.err().map(|error| error.to_string());
    for text in error.iter().chain(test.failed()) {
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn bytes_of_changelogs_and_internal_topics() {
    fuzz(2, |dice| {
        let mut test = TopologyTest::new(everything());
        let mut at_s = 100;
        (0..3).for_each(|_| feed(dice, &mut test, &mut at_s).expect("valid records"));
        for _ in 0..=dice.below(4) {
            let topic = match dice.below(5) {
                0 => (*one_of(dice, &["left", "right", "calls"])).to_owned(),
                1 => {
                    let way = *one_of(dice, &["subscription", "response"]);
                    format!("t-foreign-{way}-repartition")
                }
                _ => format!("t-{}-changelog", one_of(dice, &TABLES)),
            };
            let valid = test.take_raw(&topic);
            test.queue_raw(&topic, 0, hostile(dice, &valid));
        }
        let restored = test.crash().and_then(|()| feed(dice, &mut test, &mut at_s));
        is_no_panic(restored, &test);
    });
}

fn clocks() -> Topology {
    let app = Builder::new("t");
    let stream = app.stream(&Topic::<String, i64>::new("in")).shared();
    let tumbling = Tumbling::of(seconds(10)).grace(seconds(1)).idle_after(seconds(5));
    let windows = stream.clone().group_by_key().window(tumbling);
    windows.count(&Table::new("w")).closed().select_key(|_, _| 1).to(&Topic::new("o"));
    let sessions = stream.clone().group_by_key().window(Session::of(seconds(4)));
    sessions.count(&Table::new("s")).closed().select_key(|_, _| 1).to(&Topic::new("o2"));
    let sliding = stream.clone().group_by_key().window(Sliding::of(seconds(3)));
    sliding.count(&Table::new("l"));
    let ticks = stream.process::<String, i64>("p").on_stream_time(seconds(3), |_, _| Ok(()));
    let ticks = ticks.on_wall_clock(seconds(7), |_, _| Ok(()));
    ticks.each(|record, cx| cx.forward(record)).to(&Topic::new("p"));
    app.build().expect("valid")
}

fn metadata(dice: &mut Dice) -> String {
    let entry = |dice: &mut Dice| {
        let kind = one_of(dice, &["t", "t", "t", "p", "c", "x"]);
        let name = one_of(dice, &["w", "s", "l", "p", "p/wall-0", "", "agent"]);
        let near = 200_000 + dice.below(5_000) as i64;
        let number = if dice.below(2) == 0 { near } else { number(dice) };
        format!(";{kind}:{name}:{number}")
    };
    let text = (0..dice.below(5)).fold("hw1".to_owned(), |text, _| text + &entry(dice));
    match dice.below(3) {
        0 => String::from_utf8_lossy(&damaged(dice, text.as_bytes())).into_owned(),
        _ => text,
    }
}

/// Resumes and continues there. It can resume again from what it commits.
fn go_on(dice: &mut Dice, task: &mut Task, resume: Resume) -> Result<(), TaskError> {
    let offset = resume.offset;
    task.resume(&[resume], 200_000)?;
    let records = (0..5).map(|n| {
        let at_s = 195 + dice.below(20) as i64;
        OwnedRecord { offset: offset + n, ..record(dice, at_s) }
    });
    let records: Vec<_> = records.collect();
    task.enqueue(0, Box::new(OwnedBatch::from(records)));
    let mut effects = Effects::new();
    task.step(201_000, 10, &mut effects)?;
    task.advance(201_000 + dice.below(100_000) as i64, &mut effects)?;
    let commit = task.prepare_commit(&mut effects)?;
    let committed = &commit.offsets[0];
    let offset = committed.offset;
    let metadata = committed.metadata.clone();
    let resumed = task.resume(&[Resume { offset, metadata, committed: true }], 400_000);
    resumed.expect("what was committed is plausible");
    Ok(())
}

#[test]
fn bytes_of_offset_metadata() {
    let topology = Arc::new(clocks());
    let names: Vec<_> = topology.sub_topologies()[0].tables().iter().collect();
    let names: Vec<_> = names.iter().map(|table| Arc::clone(table.name())).collect();
    fuzz(4, |dice| {
        let store = SurvivingStores::new().open("0-0", &names).expect("opens");
        let id = TaskId { sub_topology: 0, partition: 0 };
        let mut task = Task::new(Arc::clone(&topology), id, store);
        let resume = Resume { offset: 7, metadata: metadata(dice), committed: true };
        let text = resume.metadata.clone();
        let _ = (resume.changelog_end("w"), resume.furthest());
        match go_on(dice, &mut task, resume) {
            Ok(()) | Err(TaskError::Progress { .. }) => {}
            Err(error) => panic!("{text:?}: {error}"),
        }
    });
}
