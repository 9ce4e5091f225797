//! However much due work one record causes, it is done in portions with commits in between. The
//! output is the same as without portions, whatever is aborted and whenever the task crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_streams_core::{
    Builder, Effects, Entries, ErrorPolicy, Hopping, JoinBuffers, JoinWindows, OwnedBatch,
    OwnedRecord, RecordBatch, Resume, Session, Sliding, StoreBatch, StoreProvider, Suppress, Table,
    TableBatch, Task, TaskId, Timestamp, Topic, Topology, Tumbling, Windowed,
};
use headwater_testkit::Dice;
use headwater_testkit::faults::SurvivingStores;

type Text = Topic<String, String>;

fn input(name: &str) -> Topic<String, i64> {
    Topic::new(name)
}

fn out() -> Text {
    Topic::new("out")
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn named(window: Windowed<String>, count: u64) -> (String, String) {
    (window.key, format!("{}..{}: {count}", window.start, window.end))
}

fn tumbling() -> Topology {
    let app = Builder::new("t");
    let windows = app.stream(&input("left")).group_by_key().window(Tumbling::of(ms(10)));
    windows.count(&Table::new("counts")).closed().map(named).to(&out());
    app.build().expect("valid")
}

/// Closed windows stay in the table.
fn tumbling_kept() -> Topology {
    let app = Builder::new("t");
    let kept = Tumbling::of(ms(10)).grace(ms(3)).retention(ms(100));
    let windows = app.stream(&input("left")).group_by_key().window(kept);
    windows.count(&Table::new("counts")).closed().map(named).to(&out());
    app.build().expect("valid")
}

/// Some records fail and are skipped.
fn tumbling_skipping() -> Topology {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let numbers = app
        .stream(&input("left"))
        .try_map_values(|n: i64| if n % 7 == 3 { Err("not this one") } else { Ok(n) });
    let kept = Tumbling::of(ms(10)).retention(ms(50));
    let counts = numbers.group_by_key().window(kept).count(&Table::new("counts"));
    counts.closed().map(named).to(&out());
    app.build().expect("valid")
}

fn hopping() -> Topology {
    let app = Builder::new("t");
    let hopping = Hopping::of(ms(20), ms(5)).grace(ms(2)).retention(ms(60));
    let windows = app.stream(&input("left")).group_by_key().window(hopping);
    windows.count(&Table::new("counts")).closed().map(named).to(&out());
    app.build().expect("valid")
}

fn sessions() -> Topology {
    let app = Builder::new("t");
    let sessions = Session::of(ms(6)).grace(ms(4)).retention(ms(40));
    let numbers = app.stream(&input("left")).flat_map_values(|n| [n, n + 1]);
    let counts = numbers.group_by_key().window(sessions).count(&Table::new("counts"));
    counts.closed().map(named).to(&out());
    app.build().expect("valid")
}

fn sliding() -> Topology {
    let app = Builder::new("t");
    let windows = app.stream(&input("left")).group_by_key().window(Sliding::of(ms(8)));
    windows.count(&Table::new("counts")).closed().map(named).to(&out());
    app.build().expect("valid")
}

fn cogrouped() -> Topology {
    let app = Builder::new("t");
    let both = app.stream(&input("left")).group_by_key().cogroup(|n: &mut u64, _, _| *n += 1);
    let both = both.with(app.stream(&input("right")).group_by_key(), |n, _, _| *n += 1_000);
    let sessions = Session::of(ms(6)).retention(ms(30));
    let table = Table::new("counts");
    let counts = both.window(sessions).aggregate_merging(&table, || 0, |_, a, b| a + b);
    counts.closed().map(named).to(&out());
    app.build().expect("valid")
}

fn joined(windows: JoinWindows) -> Topology {
    let app = Builder::new("t");
    let joined = app.stream(&input("left")).outer_join(
        app.stream(&input("right")),
        windows,
        &JoinBuffers::json("pairs"),
        |_, left, right| format!("{left:?}, {right:?}"),
    );
    joined.to(&out());
    app.build().expect("valid")
}

fn joined_alike() -> Topology {
    joined(JoinWindows::within(ms(5)).grace(ms(3)))
}

fn joined_unlike() -> Topology {
    joined(JoinWindows::of(ms(12), ms(2)))
}

/// Each record with its own copy, and others of its key.
fn joined_with_itself() -> Topology {
    let app = Builder::new("t");
    let numbers = app.stream(&input("left")).shared();
    let joined = numbers.clone().filter(|_, n| n % 3 > 0).left_join(
        numbers.filter(|_, n| n % 2 > 0),
        JoinWindows::of(ms(2), ms(9)),
        &JoinBuffers::json("pairs"),
        |_, left, right| format!("{left}, {right:?}"),
    );
    joined.to(&out());
    app.build().expect("valid")
}

fn suppressed_windows() -> Topology {
    let app = Builder::new("t");
    let windows = Tumbling::of(ms(10)).grace(ms(2)).retention(ms(50));
    let counts = app.stream(&input("left")).group_by_key().window(windows);
    let table = counts.count(&Table::new("counts")).into_table();
    let last = table.suppress(Suppress::until_window_closes(), "last").to_stream();
    last.map(|window, n| named(window, n.unwrap_or_default())).to(&out());
    app.build().expect("valid")
}

fn suppressed(suppress: Suppress) -> Topology {
    let app = Builder::new("t");
    let table = app.stream(&input("left")).group_by_key().count(&Table::new("counts"));
    let rarely = table.into_table().suppress(suppress, "rarely").to_stream();
    rarely.map_values(|n| format!("{n:?}")).to(&out());
    app.build().expect("valid")
}

fn suppressed_for_long() -> Topology {
    suppressed(Suppress::until_time_limit(ms(15)))
}

fn suppressed_few() -> Topology {
    suppressed(Suppress::until_time_limit(ms(15)).max_records(4))
}

/// How a topology is tested.
struct Case {
    name: &'static str,
    topology: fn() -> Topology,
    /// The common prefix of all keys.
    keys: usize,
}

const fn case(name: &'static str, topology: fn() -> Topology) -> Case {
    Case { name, topology, keys: 0 }
}

const CASES: [Case; 15] = [
    case("tumbling", tumbling),
    case("tumbling, kept", tumbling_kept),
    Case { name: "tumbling, long keys", topology: tumbling_kept, keys: 200 },
    Case { name: "tumbling, keys too long for metadata", topology: tumbling_kept, keys: 600 },
    case("tumbling, skipping", tumbling_skipping),
    case("hopping", hopping),
    case("sessions", sessions),
    Case { name: "sessions, keys too long for metadata", topology: sessions, keys: 600 },
    case("sliding", sliding),
    case("cogroup", cogrouped),
    case("join", joined_alike),
    case("join with unequal bounds", joined_unlike),
    case("join with itself", joined_with_itself),
    case("suppress until windows close", suppressed_windows),
    case("suppress", suppressed_for_long),
];

/// A task, its inputs, and what it has committed.
struct World {
    topology: Arc<Topology>,
    task: Task,
    inputs: Vec<Vec<OwnedRecord>>,
    committed: Vec<Resume>,
    changelogs: BTreeMap<Arc<str>, Vec<OwnedRecord>>,
    /// The committed output: keys, times, values.
    out: Vec<(String, Timestamp, String)>,
    effects: Effects,
    portion: usize,
    metadata_max: usize,
    commits_in_between: usize,
}

impl World {
    fn new(topology: Topology, inputs: Vec<Vec<OwnedRecord>>, portion: usize) -> Self {
        let topology = Arc::new(topology);
        let from = Resume { offset: 0, metadata: String::new(), committed: true };
        let mut world = Self {
            task: task(&topology, &BTreeMap::new()),
            committed: vec![from; inputs.len()],
            inputs,
            changelogs: BTreeMap::new(),
            out: Vec::new(),
            effects: Effects::new(),
            portion,
            metadata_max: 0,
            commits_in_between: 0,
            topology,
        };
        world.go_back();
        world
    }

    /// Back to the committed state.
    fn go_back(&mut self) {
        self.effects.clear();
        self.task.set_portion(self.portion);
        self.task.resume(&self.committed, 0).expect("resumes");
        for (number, resume) in self.committed.iter().enumerate() {
            let left = self.inputs[number][resume.offset as usize..].to_vec();
            self.task.enqueue(number, Box::new(OwnedBatch::from(left)));
            // There are no others.
            self.task.observe(number, true, false);
        }
    }

    fn die(&mut self) {
        self.task = task(&self.topology, &self.changelogs);
        self.go_back();
    }

    fn commit(&mut self) {
        let commit = self.task.prepare_commit(&mut self.effects).expect("can commit");
        for effect in self.effects.iter() {
            let record = OwnedRecord {
                offset: 0,
                timestamp: effect.timestamp,
                key: effect.key.map(Into::into),
                value: effect.value.map(Into::into),
                ..OwnedRecord::default()
            };
            if &**effect.topic == "out" {
                let text = |bytes: Option<&[u8]>| {
                    String::from_utf8_lossy(bytes.unwrap_or_default()).into()
                };
                self.out.push((text(effect.key), effect.timestamp, text(effect.value)));
            } else {
                self.changelogs.entry(Arc::clone(effect.topic)).or_default().push(record);
            }
        }
        self.effects.clear();
        for offset in commit.offsets {
            self.metadata_max = self.metadata_max.max(offset.metadata.len());
            self.committed[offset.input] =
                Resume { offset: offset.offset, metadata: offset.metadata, committed: true };
        }
        self.commits_in_between += usize::from(self.task.is_behind());
        self.task.committed(&[], 0).expect("the store takes it");
    }

    /// Runs until nothing is left to do. `dice` decides what goes wrong.
    fn run(&mut self, dice: &mut Option<Dice>) {
        loop {
            let records_max = dice.as_mut().map_or(1_000, |dice| 1 + dice.below(3));
            let step = self.task.step(0, records_max, &mut self.effects).expect("no task fails");
            match dice.as_mut().map(|dice| dice.below(12)) {
                Some(0) => self.go_back(),
                Some(1) => self.die(),
                Some(2..5) => {}
                _ => self.commit(),
            }
            if !step.more && !self.task.is_dirty() && self.is_done() {
                return;
            }
        }
    }

    fn is_done(&self) -> bool {
        let mut inputs = self.committed.iter().zip(&self.inputs);
        !self.task.is_behind() && inputs.all(|(at, all)| at.offset as usize == all.len())
    }
}

/// A task over a store that was restored from its changelogs.
fn task(topology: &Arc<Topology>, changelogs: &BTreeMap<Arc<str>, Vec<OwnedRecord>>) -> Task {
    let tables = topology.sub_topologies()[0].tables();
    let names: Vec<_> = tables.iter().map(|table| Arc::clone(table.name())).collect();
    let mut store = SurvivingStores::new().open("0-0", &names).expect("opens");
    for (table, spec) in tables.iter().enumerate() {
        let log = changelogs.get(spec.changelog()).cloned().unwrap_or_default();
        let batch = OwnedBatch::from(log);
        let mut entries = Entries::new();
        (0..batch.len())
            .for_each(|index| spec.restore(&batch.record(index), &mut entries).expect("an entry"));
        entries.sort();
        let tables = vec![TableBatch { table, entries, position: Some(0) }];
        store.apply(&StoreBatch { tables, at: 0 }).expect("applies");
    }
    Task::new(Arc::clone(topology), TaskId { sub_topology: 0, partition: 0 }, store)
}

/// Records that arrive roughly in order, many at a time, with an occasional gap. No two inputs have
/// records with the same time, so there is only one order of processing.
fn records(case: &Case, count: usize, input: usize, dice: &mut Dice) -> Vec<OwnedRecord> {
    let mut now = 0;
    let record = |offset: usize| {
        now += if dice.below(15) == 0 { 10 + dice.below(60) } else { dice.below(3) } as i64;
        let key = format!("{}{}", "k".repeat(case.keys), dice.below(12));
        OwnedRecord {
            offset: offset as i64,
            timestamp: 2 * (now - dice.below(8) as i64).max(0) + input as i64,
            key: Some(key.into_bytes().into()),
            value: Some((offset as i64).to_be_bytes().into()),
            ..OwnedRecord::default()
        }
    };
    (0..count).map(record).collect()
}

/// There is no promised order between records with different keys.
fn by_key(mut out: Vec<(String, Timestamp, String)>) -> Vec<(String, Timestamp, String)> {
    out.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    out
}

fn try_case(case: &Case, seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let inputs = (case.topology)().sub_topologies()[0].sources().len();
    let inputs: Vec<_> = (0..inputs).map(|input| records(case, 120, input, &mut dice)).collect();
    let mut at_once = World::new((case.topology)(), inputs.clone(), usize::MAX);
    at_once.run(&mut None);
    assert!(!at_once.out.is_empty());
    let mut portions = World::new((case.topology)(), inputs, 1 + dice.below(4));
    portions.run(&mut Some(dice));
    let Case { name, .. } = case;
    assert!(portions.metadata_max <= 4_096, "{name}: metadata of {}", portions.metadata_max);
    let found = by_key(portions.out);
    let expected = by_key(at_once.out);
    let differ = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert_eq!(differ, None, "{name}, seed {seed}");
    assert_eq!(found.len(), expected.len(), "{name}, seed {seed}");
    portions.commits_in_between
}

#[test]
fn portions_aborts_and_crashes_change_nothing() {
    for case in &CASES {
        let commits: usize = (0..25).map(|seed| try_case(case, seed)).sum();
        assert!(commits > 50, "{}: {commits} commits between portions", case.name);
    }
}

/// A full buffer emits the first change. That is due at once, and never more than the record's own.
#[test]
fn a_bounded_buffer_does_not_depend_on_portions_either() {
    let case = case("suppress, few records", suppressed_few);
    for seed in 0..25 {
        try_case(&case, seed);
    }
}

#[test]
fn closed_windows_keep_their_order_whatever_the_portions() {
    for case in [case("tumbling", tumbling_kept), case("hopping", hopping)] {
        for seed in 0..20 {
            let records = records(&case, 200, 0, &mut Dice::new(seed));
            let run = |portion| {
                let mut world = World::new((case.topology)(), vec![records.clone()], portion);
                world.run(&mut None);
                world.out
            };
            assert_eq!(run(2), run(usize::MAX), "{}, seed {seed}", case.name);
        }
    }
}
