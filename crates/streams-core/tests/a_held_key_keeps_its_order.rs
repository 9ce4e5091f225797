//! With `hold_key` the records of a key are processed in the order of their offsets, however often
//! one of them fails, while other keys continue. Compared with a naive model.

mod mishaps;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use headwater_streams_core::agent::{Context, Records};
use headwater_streams_core::{
    Backoff, Builder, ErrorPolicy, OwnedRecord, ProcessError, Retry, Table, Topic, Topology,
};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// A number, and until when the service that the record needs is away.
type Call = (u64, i64);

fn input() -> Topic<Option<String>, Call> {
    Topic::json("in")
}

fn output() -> Topic<Option<String>, Call> {
    Topic::json("out")
}

fn dead() -> Topic<Option<String>, Call> {
    Topic::json("dead")
}

fn twice() -> Retry {
    ErrorPolicy::retry(2, Backoff::exponential(SECOND, 3 * SECOND).jitter(0))
}

/// The clock of an agent; in these tests it has none of its own.
type Now = Arc<AtomicI64>;

/// The same topology with an agent.
fn with_agent(retry: Retry, now: &Now) -> Topology {
    let app = Builder::new("t");
    let consumed = input().consumed().on_error(retry.then(ErrorPolicy::dead_letter("dead")));
    let counted = Topic::<Option<String>, u64>::new("counted");
    let counts = Table::<Option<String>, u64>::new("counts");
    let agent = app.agent("call", consumed).writes(&counts);
    let now = Arc::clone(now);
    agent.sends(&output()).sends(&counted).run(move |mut calls: Records<_, Call>, cx: Context| {
        let now = Arc::clone(&now);
        let counts = counts.clone();
        let counted = counted.clone();
        async move {
            while let Some(call) = calls.next().await {
                let count = cx.table(&counts).update(&call.key, |count| *count += 1)?;
                cx.send(&counted, call.key.clone(), count)?;
                if now.load(Ordering::Relaxed) < call.value.1 {
                    return Err("away".into());
                }
                cx.send(&output(), call.key, call.value)?;
            }
            Ok(())
        }
    });
    app.build().expect("valid")
}

fn topology(retry: Retry) -> Topology {
    let app = Builder::new("t");
    let consumed = input().consumed().on_error(retry.then(ErrorPolicy::dead_letter("dead")));
    let stream = app.stream(consumed).shared();
    let numbers = stream.clone().filter(|key, _| key.is_some()).group_by_key();
    numbers.count(&Table::new("counts")).to(&Topic::new("counted"));
    stream
        .process::<Option<String>, Call>("call")
        .each(|record, context| match context.now() < record.value.1 {
            true => Err(ProcessError::new("away")),
            false => context.forward(record),
        })
        .to(&output());
    app.build().expect("valid")
}

fn send(test: &mut TopologyTest, key: &str, call: Call) {
    test.send(&input(), Some(key.to_owned()), call).expect("processed");
}

fn numbers(test: &mut TopologyTest, topic: &Topic<Option<String>, Call>) -> Vec<u64> {
    let taken = test.take(topic).expect("decodes");
    taken.into_iter().map(|(_, (number, _))| number).collect()
}

#[test]
fn later_records_of_the_key_wait_and_others_continue() {
    let mut test = TopologyTest::new(topology(twice().hold_key()));
    send(&mut test, "a", (1, 1_000));
    send(&mut test, "a", (2, 0));
    send(&mut test, "b", (3, 0));
    send(&mut test, "a", (4, 0));
    assert_eq!(numbers(&mut test, &output()), [3]);
    assert_eq!((test.metrics().waiting, test.metrics().retries), (3, 0));
    test.crash().expect("restores");
    assert_eq!(test.metrics().waiting, 3);
    test.advance(SECOND).expect("runs");
    assert_eq!(numbers(&mut test, &output()), [1, 2, 4]);
    assert_eq!((test.metrics().waiting, test.metrics().retries), (0, 1), "two first attempts");
    send(&mut test, "a", (5, 0));
    assert_eq!(numbers(&mut test, &output()), [5]);
}

#[test]
fn later_records_continue_after_a_dead_letter_and_may_fail_too() {
    let mut test = TopologyTest::new(topology(twice().hold_key()));
    for call in [(1, i64::MAX), (2, 0), (3, 5_000), (4, 0)] {
        send(&mut test, "a", call);
    }
    test.advance(SECOND).expect("runs");
    assert!(numbers(&mut test, &output()).is_empty());
    test.advance(2 * SECOND).expect("runs");
    assert_eq!(numbers(&mut test, &dead()), [1]);
    assert_eq!(numbers(&mut test, &output()), [2]);
    assert_eq!(test.metrics().waiting, 2);
    test.advance(SECOND).expect("runs");
    assert!(numbers(&mut test, &output()).is_empty());
    test.advance(2 * SECOND).expect("runs");
    assert_eq!(numbers(&mut test, &output()), [3, 4]);
}

#[test]
fn a_null_key_holds_nothing_and_one_that_cannot_be_decoded_does() {
    let mut test = TopologyTest::new(topology(twice().hold_key()));
    for call in [(1, 1_000), (2, 0)] {
        test.send(&input(), None, call).expect("processed");
    }
    let raw = |call: &str| OwnedRecord {
        key: Some([0xff][..].into()),
        value: Some(call.as_bytes().into()),
        ..OwnedRecord::default()
    };
    let policy = twice().hold_key().with_codec_errors();
    let mut with_codecs = TopologyTest::new(topology(policy));
    assert_eq!(numbers(&mut test, &output()), [2]);
    test.advance(SECOND).expect("runs");
    assert_eq!(numbers(&mut test, &output()), [1]);

    // Not text: each waits for a codec that can read it.
    for call in ["[1,0]", "[2,0]"] {
        with_codecs.send_raw("in", raw(call)).expect("processed");
    }
    assert_eq!(with_codecs.failed().len(), 1, "the second one was not tried");
    assert_eq!(with_codecs.metrics().waiting, 2);
    (0..10).for_each(|_| with_codecs.advance(SECOND).expect("runs"));
    let letters = with_codecs.take_raw("dead");
    let values: Vec<_> = letters.iter().filter_map(|letter| letter.value.as_deref()).collect();
    assert_eq!(values, [&b"[1,0]"[..], b"[2,0]"]);
}

#[test]
fn a_record_that_is_too_large_to_wait_continues_with_an_error() {
    let mut test = TopologyTest::new(topology(twice().hold_key()));
    test.max_message_bytes("t-in-retries-changelog", 250);
    send(&mut test, "a", (1, 1_000));
    let long = format!("[{}2,0]", " ".repeat(200));
    let raw = OwnedRecord {
        key: Some(b"a"[..].into()),
        value: Some(long.into_bytes().into()),
        ..OwnedRecord::default()
    };
    test.send_raw("in", raw).expect("processed");
    send(&mut test, "a", (3, 0));
    assert_eq!(numbers(&mut test, &dead()), [2]);
    let failed = test.failed().last().expect("said").clone();
    assert!(failed.contains("offset 1: the entry of the table in-retries"), "{failed}");
    test.advance(SECOND).expect("runs");
    assert_eq!(numbers(&mut test, &output()), [1, 3]);
}

#[test]
fn a_long_queue_is_processed_in_portions() {
    let mut test = TopologyTest::new(topology(twice().hold_key()));
    send(&mut test, "a", (0, 1_000));
    for number in 1..600 {
        let record = headwater_streams_core::Record::new(Some("a".to_owned()), (number, 0), 0);
        test.queue(&input(), &record).expect("queued");
    }
    test.run().expect("runs");
    assert_eq!(test.metrics().waiting, 600);
    test.portions(1);
    let mut commits = 0;
    test.abort_when(move |_| {
        commits += 1;
        commits % 100 == 99
    });
    test.advance(SECOND).expect("runs");
    assert_eq!(numbers(&mut test, &output()), (0..600).collect::<Vec<_>>());
    assert_eq!(test.metrics().waiting, 0);
}

#[derive(Clone, Debug)]
enum Step {
    /// Sends a record with a key; the service is away for that long.
    Send(usize, i64),
    Advance(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let away = prop_oneof![3 => Just(0), 2 => 1..6_000_i64, 1 => Just(1_000_000_000)];
    let send = (0..4_usize, away).prop_map(|(key, away)| Step::Send(key, away));
    let advance = (1..2_500_i64).prop_map(Step::Advance);
    prop::collection::vec(prop_oneof![3 => send, 2 => advance], 1..60)
}

/// A record of the model.
struct Waits {
    call: Call,
    attempts: u32,
    due: i64,
}

/// The outputs for each key, in order.
#[derive(Debug, Default, PartialEq)]
struct Results {
    out: BTreeMap<String, Vec<u64>>,
    dead: BTreeMap<String, Vec<u64>>,
}

/// One queue for each key. Each key is checked once at each moment.
struct Model {
    holds: bool,
    queues: BTreeMap<String, VecDeque<Waits>>,
    results: Results,
}

impl Model {
    fn send(&mut self, key: String, call: Call, now: i64) {
        self.queues.entry(key).or_default().push_back(Waits { call, attempts: 0, due: now });
        self.run(now);
    }

    /// When the next record is retried.
    fn next_due(&self, now: i64) -> Option<i64> {
        let all = self.queues.values().flatten().map(|waits| waits.due);
        all.filter(|due| *due > now).min()
    }

    fn run(&mut self, now: i64) {
        for (key, queue) in &mut self.queues {
            let mut index = 0;
            while let Some(waits) = queue.get_mut(index) {
                if waits.due > now {
                    if self.holds {
                        break;
                    }
                    index += 1;
                    continue;
                }
                waits.attempts += 1;
                let ends = match now < waits.call.1 {
                    false => &mut self.results.out,
                    true if waits.attempts == 3 => &mut self.results.dead,
                    true => {
                        waits.due = now + i64::from(waits.attempts) * 1_000;
                        continue;
                    }
                };
                ends.entry(key.clone()).or_default().push(waits.call.0);
                queue.remove(index);
            }
        }
    }
}

fn by_key(
    test: &mut TopologyTest,
    topic: &Topic<Option<String>, Call>,
) -> BTreeMap<String, Vec<u64>> {
    let mut all = BTreeMap::<String, Vec<u64>>::new();
    for (key, (number, _)) in test.take(topic).expect("decodes") {
        all.entry(key.expect("a key")).or_default().push(number);
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reader {
    Operators,
    Agent,
}

fn compare(
    reader: Reader,
    holds: bool,
    steps: &[Step],
    mishaps: &Mishaps,
) -> Result<(), TestCaseError> {
    let retry = if holds { twice().hold_key() } else { twice() };
    let clock = Now::default();
    let mut test = TopologyTest::new(match reader {
        Reader::Operators => topology(retry),
        Reader::Agent => with_agent(retry, &clock),
    });
    let mut model = Model { holds, queues: BTreeMap::new(), results: Results::default() };
    mishaps.begin(&mut test);
    let mut now = 0;
    for (number, step) in (0_u64..).zip(steps) {
        mishaps.before(number as usize, &mut test);
        match step {
            Step::Send(key, away) => {
                let call = (number, now + away);
                send(&mut test, &format!("k{key}"), call);
                model.send(format!("k{key}"), call, now);
            }
            Step::Advance(by) => {
                // What the test runs before time passes finds nothing to do.
                let end = now + by;
                while now < end {
                    let next = model.next_due(now).map_or(end, |due| due.min(end));
                    clock.store(next, Ordering::Relaxed);
                    let by = Duration::from_millis((next - now) as u64);
                    test.advance(by).expect("runs");
                    now = next;
                    model.run(now);
                }
            }
        }
        let waiting: usize = model.queues.values().map(VecDeque::len).sum();
        prop_assert_eq!(test.metrics().waiting, waiting as u64);
    }
    let mut results =
        Results { out: by_key(&mut test, &output()), dead: by_key(&mut test, &dead()) };
    if !holds {
        // Records that are due at the same moment have no order.
        let all = results.out.values_mut().chain(results.dead.values_mut());
        let all = all.chain(model.results.out.values_mut()).chain(model.results.dead.values_mut());
        all.for_each(|numbers| numbers.sort_unstable());
    }
    prop_assert_eq!(&results, &model.results);
    let mut counted = BTreeMap::<String, usize>::new();
    for (key, count) in test.take(&Topic::<Option<String>, u64>::new("counted")).expect("decodes") {
        let before = counted.insert(key.expect("a key"), count as usize).unwrap_or(0);
        prop_assert_eq!(before + 1, count as usize, "what failed was not counted");
    }
    let out = results.out.into_iter().map(|(key, numbers)| (key, numbers.len()));
    prop_assert_eq!(counted, out.collect::<BTreeMap<_, _>>());
    Ok(())
}

proptest! {
    #[test]
    fn held_keys_match_the_model(steps in steps(), mishaps in Mishaps::any()) {
        compare(Reader::Operators, true, &steps, &mishaps)?;
    }

    #[test]
    fn keys_that_are_not_held_match_the_model(steps in steps(), mishaps in Mishaps::any()) {
        compare(Reader::Operators, false, &steps, &mishaps)?;
    }

    #[test]
    fn held_keys_of_an_agent_match_the_model(
        steps in steps(),
        mishaps in Mishaps::any(),
    ) {
        compare(Reader::Agent, true, &steps, &mishaps)?;
    }

    #[test]
    fn other_keys_of_an_agent_match_the_model(steps in steps(), mishaps in Mishaps::any()) {
        compare(Reader::Agent, false, &steps, &mishaps)?;
    }
}
