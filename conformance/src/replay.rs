//! Feeds a case's input to a topology test, and collects the results.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use headwater::Record;
use headwater::codec::Codec;
use headwater::topics::Timestamp;
use serde_json::{Value, json};
use testkit::TopologyTest;

use crate::build::{Built, CaseTable};
use crate::case::{Case, CaseError, InputStep};
use crate::key::{Key, KeyCodec, RowKey, Val, ValCodec};

/// A record that came out: step, topic, key, value, timestamp.
pub type Output = (usize, String, Key, Val, Timestamp);
/// An entry of a table: key, value, timestamp.
pub type Entry = (Key, Val, Timestamp);

/// The results of a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplayOutcome {
    /// The records, by step.
    pub outputs: Vec<Output>,
    /// The tables' contents.
    pub stores: BTreeMap<String, Vec<Entry>>,
    /// What the `peek`s saw: step, operator, key, value.
    pub peeked: Vec<(usize, String, Key, Val)>,
}

/// Interference with a case's tasks between its steps.
pub trait Mischief {
    /// Called before each step.
    fn before(&mut self, step: usize, test: &mut TopologyTest) -> Result<(), CaseError>;
}

/// No interference.
pub struct Peace;

impl Mischief for Peace {
    fn before(&mut self, _: usize, _: &mut TopologyTest) -> Result<(), CaseError> {
        Ok(())
    }
}

/// Replays a case.
pub fn replay(case: &Case, mischief: &mut dyn Mischief) -> Result<ReplayOutcome, CaseError> {
    let built = crate::build::build(case)?;
    let Built { topology, stores, peeked } = built;
    let mut test = TopologyTest::new(topology);
    let topics = sink_topics(case);
    let mut outcome = ReplayOutcome::default();
    for (at, step) in case.input.iter().enumerate() {
        mischief.before(at, &mut test)?;
        put_in(step, &mut test)?;
        for topic in &topics {
            for record in test.take_raw(topic) {
                let key = KeyCodec.decode(record.key.as_deref()).map_err(broken)?;
                let value = ValCodec.decode(record.value.as_deref()).map_err(broken)?;
                outcome.outputs.push((at, topic.clone(), key, value, record.timestamp));
            }
        }
        let mut seen = peeked.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.peeked.extend(seen.drain(..).map(|(op, key, value)| (at, op, key, value)));
    }
    // Records without a key are not rows: every table's policy skips them.
    if let Some(failed) = test.failed().iter().find(|text| !text.contains("the key is null")) {
        return Err(CaseError::Unknown(failed.clone()));
    }
    for name in case.store.keys() {
        let store = stores.get(name).cloned();
        let store = store.ok_or_else(|| CaseError::at(name, "no table has this name"))?;
        if let Some(entries) = entries(&store, &mut test)? {
            outcome.stores.insert(name.clone(), entries);
        }
    }
    Ok(outcome)
}

fn put_in(step: &InputStep, test: &mut TopologyTest) -> Result<(), CaseError> {
    match step {
        InputStep::Clock { advance_wall_clock_ms } => {
            test.advance(Duration::from_millis(*advance_wall_clock_ms)).map_err(broken)
        }
        InputStep::Record { topic, key, value, ts } => {
            let key = Key::from_json(key).map_err(CaseError::Unknown)?;
            let record = Record::new(key, crate::key::val(Some(value.clone())), *ts);
            let topic = headwater::Topic::with(topic.as_str(), KeyCodec, ValCodec);
            test.send_record(&topic, record).map_err(broken)
        }
    }
}

fn broken(error: impl std::fmt::Display) -> CaseError {
    CaseError::Unknown(error.to_string())
}

fn sink_topics(case: &Case) -> Vec<String> {
    let mut topics = BTreeSet::new();
    for sink in &case.topology.sinks {
        topics.extend(sink.topic.clone());
        if let Some(by) = &sink.topic_by {
            topics.extend(by.topics.values().cloned().chain([by.default.clone()]));
        }
    }
    topics.into_iter().collect()
}

/// A table's entries; `None` if it cannot be read.
fn entries(store: &CaseTable, test: &mut TopologyTest) -> Result<Option<Vec<Entry>>, CaseError> {
    use crate::build::windows::AnyWindows;
    macro_rules! windows {
        ($table:expr, $windows:expr) => {
            match $windows {
                AnyWindows::Tumbling(kind) => test.table_windows($table, kind),
                AnyWindows::Hopping(kind) => test.table_windows($table, kind),
                AnyWindows::Sliding(kind) => test.table_windows($table, kind),
                AnyWindows::Session(kind) => test.table_windows($table, kind),
            }
            .map_err(broken)?
        };
    }
    let mut entries = match store {
        CaseTable::Values(table) => rows(test.table_rows(table).map_err(broken)?, |value| value),
        CaseTable::WindowKeys(table) => {
            rows(test.table_rows(table).map_err(broken)?, |value| value)
        }
        CaseTable::Counts(table) => rows(test.table_rows(table).map_err(broken)?, number),
        CaseTable::Numbers(table) => rows(test.table_rows(table).map_err(broken)?, number),
        CaseTable::Windows(table, kind) => rows(windows!(table, kind), |value| value),
        CaseTable::WindowCounts(table, kind) => rows(windows!(table, kind), number),
        CaseTable::Global => return Ok(None),
    };
    entries.sort_by_key(|(key, _, _)| order(key));
    Ok(Some(entries))
}

fn rows<K: RowKey, V>(records: Vec<Record<K, V>>, value: impl Fn(V) -> Val) -> Vec<Entry> {
    let row = |record: Record<K, V>| (record.key.to_key(), value(record.value), record.timestamp);
    records.into_iter().map(row).collect()
}

fn number<N: serde::Serialize>(number: N) -> Option<Value> {
    Some(json!(number))
}

/// Keys as UTF-8 bytes, then windows.
fn order(key: &Key) -> (String, i64, i64) {
    let text = key.text().unwrap_or_default().to_owned();
    match key {
        Key::Windowed(windowed) => (text, windowed.start, windowed.end),
        _ => (text, 0, 0),
    }
}
