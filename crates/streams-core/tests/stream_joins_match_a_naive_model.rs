//! A join of two streams equals the join of the lists of all their records, even when a record
//! becomes several before the join, and when the log is not in the order of time.

mod mishaps;

use std::time::Duration;

use headwater_streams_core::{Builder, JoinBuffers, JoinWindows, Record, Topic, Topology};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

type Key = Option<String>;
/// The left and the right record's number.
type Pair = (Option<i64>, Option<i64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    kind: Kind,
    before: i64,
    after: i64,
    grace: i64,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    is_left: bool,
    /// 0 is the null key.
    key: u8,
    at: i64,
    /// How many records it becomes before the join.
    count: i64,
}

/// A record of a topic: its time, and the numbers of the records that it becomes before the join.
type Several = (i64, Vec<i64>);

fn topic(name: &'static str) -> Topic<Key, Several> {
    Topic::json(name)
}

fn topology(bounds: Bounds) -> Topology {
    let app = Builder::new("model");
    let millis = |ms: i64| Duration::from_millis(ms as u64);
    let windows = JoinWindows::of(millis(bounds.before), millis(bounds.after));
    let windows = windows.grace(millis(bounds.grace));
    let buffers = JoinBuffers::json("joined");
    let stream = |name| {
        let by_value =
            topic(name).consumed().timestamps(|record: &Record<Key, Several>| record.value.0);
        app.stream(by_value).flat_map_values(|value: Several| value.1)
    };
    let left = stream("left");
    let right = stream("right");
    let joined = match bounds.kind {
        Kind::Inner => left.join(right, windows, &buffers, |_, l, r| (Some(*l), Some(*r))),
        Kind::Left => left.left_join(right, windows, &buffers, |_, l, r| (Some(*l), r.copied())),
        Kind::Outer => {
            left.outer_join(right, windows, &buffers, |_, l, r| (l.copied(), r.copied()))
        }
    };
    joined.to(&Topic::json("out"));
    app.build().expect("valid")
}

/// A result: key, time, numbers.
type Out = (u8, i64, Pair);

struct Model {
    bounds: Bounds,
    /// All records with keys, in the order of arrival. Their indices are their numbers.
    all: Vec<(Arrival, i64)>,
    /// The numbers of those that are results alone unless a partner arrives.
    waiting: Vec<usize>,
    time: i64,
}

impl Model {
    fn is_result_alone(&self, is_left: bool) -> bool {
        match self.bounds.kind {
            Kind::Inner => false,
            Kind::Left => is_left,
            Kind::Outer => true,
        }
    }

    /// How much later than a record its partners may be.
    fn reach(&self, is_left: bool) -> i64 {
        if is_left { self.bounds.after } else { self.bounds.before }
    }

    fn alone(arrival: Arrival, number: i64) -> Out {
        let pair = if arrival.is_left { (Some(number), None) } else { (None, Some(number)) };
        (arrival.key, arrival.at, pair)
    }

    /// What a record causes, in order.
    fn arrive(&mut self, arrival: Arrival, number: i64) -> Vec<Out> {
        self.time = self.time.max(arrival.at);
        let Arrival { is_left, key, at, .. } = arrival;
        if key == 0 {
            let is_sent = self.is_result_alone(is_left);
            return Vec::from_iter(is_sent.then(|| Self::alone(arrival, number)));
        }
        let mut out = if at == self.time { self.over() } else { Vec::new() };
        let kept_from = |is_left: bool| {
            let own = self.all.iter().filter(|(one, _)| one.is_left == is_left);
            let newest = own.map(|(one, _)| one.at).max();
            let Bounds { before, after, grace, .. } = self.bounds;
            // The last partner may arrive at exactly the moment that the sum of both bounds allows.
            let kept = (before + after + grace).max(self.reach(is_left) + grace + 1);
            newest.map_or(i64::MIN, |newest| newest - kept + 1)
        };
        let from = at - self.reach(!is_left);
        let to = at + self.reach(is_left);
        let from = from.max(kept_from(!is_left));
        let is_partner = |index: &usize| {
            let one = self.all[*index].0;
            one.is_left != is_left && one.key == key && (from..=to).contains(&one.at)
        };
        let mut partners: Vec<usize> = (0..self.all.len()).filter(is_partner).collect();
        partners.sort_by_key(|index| self.all[*index].0.at);
        self.waiting.retain(|index| !partners.contains(index));
        self.all.push((arrival, number));
        for (one, other) in partners.iter().map(|index| self.all[*index]) {
            let pair = if is_left { (number, other) } else { (other, number) };
            out.push((key, at.max(one.at), (Some(pair.0), Some(pair.1))));
        }
        if partners.is_empty() && self.is_result_alone(is_left) {
            if to + self.bounds.grace < self.time {
                out.push(Self::alone(arrival, number));
            } else {
                self.waiting.push(self.all.len() - 1);
            }
        }
        out
    }

    /// Removes and returns those for which stream time says that no partner can arrive.
    fn over(&mut self) -> Vec<Out> {
        let is_over =
            |one: Arrival| self.time > one.at + self.reach(one.is_left) + self.bounds.grace;
        let (over, waiting): (Vec<_>, Vec<_>) =
            self.waiting.iter().partition(|index| is_over(self.all[**index].0));
        let mut over: Vec<_> = over.into_iter().map(|index: usize| self.all[index]).collect();
        self.waiting = waiting;
        over.sort_by_key(|(one, _)| (one.at, !one.is_left));
        over.into_iter().map(|(arrival, number)| Self::alone(arrival, number)).collect()
    }
}

fn name(key: u8) -> Key {
    (key > 0).then(|| "k".repeat(key.into()))
}

fn kinds() -> impl Strategy<Value = Bounds> {
    let kind = prop_oneof![Just(Kind::Inner), Just(Kind::Left), Just(Kind::Outer)];
    (kind, 0..8_i64, 0..8_i64, 0..8_i64).prop_map(|(kind, before, after, grace)| Bounds {
        kind,
        before,
        after,
        grace,
    })
}

/// Times that advance and fall back.
fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let key = prop_oneof![1 => Just(0_u8), 9 => 1..4_u8];
    let count = prop_oneof![1 => Just(0_i64), 6 => Just(1_i64), 2 => 2..4_i64];
    let one = (any::<bool>(), key, -12..5_i64, 0..3_i64, count);
    prop::collection::vec(one, 1..50).prop_map(|all| {
        let mut now = 0;
        let arrival = |(is_left, key, off, step, count): (bool, u8, i64, i64, i64)| {
            now += step;
            Arrival { is_left, key, at: (now + off).max(0), count }
        };
        all.into_iter().map(arrival).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn stream_joins_match_a_naive_model(
        bounds in kinds(), arrivals in arrivals(), mishaps in Mishaps::any(),
    ) {
        let mut test = TopologyTest::new(topology(bounds));
        mishaps.begin(&mut test);
        let mut model = Model { bounds, all: Vec::new(), waiting: Vec::new(), time: 0 };
        for (step, arrival) in arrivals.into_iter().enumerate() {
            let numbers: Vec<_> = (0..arrival.count).map(|n| 10 * step as i64 + n).collect();
            mishaps.before(step, &mut test);
            let input = topic(if arrival.is_left { "left" } else { "right" });
            let value = (arrival.at, numbers.clone());
            let record = Record::new(name(arrival.key), value, step as i64);
            test.send_record(&input, record).expect("processed");
            let out = test.take_records(&Topic::<Key, Pair>::json("out")).expect("decodes");
            // There is no order between records with different keys.
            let mut found: Vec<_> =
                out.into_iter().map(|out| (out.key, out.timestamp, out.value)).collect();
            found.sort_by_key(|(key, ..)| key.clone());
            let out = numbers.into_iter().flat_map(|number| model.arrive(arrival, number));
            let mut expected: Vec<_> = out.map(|(key, at, pair)| (name(key), at, pair)).collect();
            expected.sort_by_key(|(key, ..)| key.clone());
            prop_assert_eq!(found, expected, "at step {} ({:?})", step, arrival);
        }
    }

    /// Records within grace are joined by the definition alone. The implementation, with its
    /// buffers and retention, is not visible.
    #[test]
    fn records_within_grace_are_joined_by_definition(
        bounds in kinds(), arrivals in arrivals(), mishaps in Mishaps::any(),
    ) {
        let mut test = TopologyTest::new(topology(bounds));
        mishaps.begin(&mut test);
        let mut time = 0;
        let mut all = Vec::new();
        let mut found = Vec::new();
        // The last record arrives when all the others are complete.
        let end = Arrival { is_left: true, key: 9, at: 1_000_000, count: 1 };
        for (step, arrival) in arrivals.into_iter().chain([end]).enumerate() {
            let at = arrival.at.max(time - bounds.grace);
            time = time.max(at);
            mishaps.before(step, &mut test);
            let numbers: Vec<_> = (0..arrival.count).map(|n| 10 * step as i64 + n).collect();
            let input = topic(if arrival.is_left { "left" } else { "right" });
            let record = Record::new(name(arrival.key), (at, numbers.clone()), step as i64);
            test.send_record(&input, record).expect("processed");
            let out = test.take_records(&Topic::<Key, Pair>::json("out")).expect("decodes");
            found.extend(out.into_iter().map(|out| (out.key, out.timestamp, out.value)));
            let arrival = Arrival { at, ..arrival };
            all.extend(numbers.into_iter().map(|number| (arrival, number)));
        }
        let mut expected = by_definition(bounds, &all);
        // Nothing has closed the window of the last one.
        expected.retain(|(_, at, _)| *at < end.at);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

/// All results of these records.
fn by_definition(bounds: Bounds, all: &[(Arrival, i64)]) -> Vec<(Key, i64, Pair)> {
    let belongs = |left: Arrival, right: Arrival| {
        let distance = -bounds.before..=bounds.after;
        left.key == right.key && left.key > 0 && distance.contains(&(right.at - left.at))
    };
    let (left, right): (Vec<_>, Vec<_>) = all.iter().partition(|(one, _)| one.is_left);
    let mut results = Vec::new();
    for &(one, number) in &left {
        for &(other, other_number) in right.iter().filter(|(other, _)| belongs(one, *other)) {
            let pair = (Some(number), Some(other_number));
            results.push((name(one.key), one.at.max(other.at), pair));
        }
    }
    let is_alone = |(one, _): &&(Arrival, i64)| {
        let others = if one.is_left { &right } else { &left };
        let mut partners = others.iter().filter(|(other, _)| {
            if one.is_left { belongs(*one, *other) } else { belongs(*other, *one) }
        });
        let counts = match bounds.kind {
            Kind::Inner => false,
            Kind::Left => one.is_left,
            Kind::Outer => true,
        };
        counts && partners.next().is_none()
    };
    results.extend(all.iter().filter(is_alone).map(|(one, number)| {
        let pair = if one.is_left { (Some(*number), None) } else { (None, Some(*number)) };
        (name(one.key), one.at, pair)
    }));
    results
}
