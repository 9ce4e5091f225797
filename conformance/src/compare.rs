//! Compares a case's results with the expected ones.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::{Case, Out, OutputOrder, Peeked, TableEntry};
use crate::key::{Key, Val, val};
use crate::replay::ReplayOutcome;

/// A difference from the expected results.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where: a topic, a table, a `peek`.
    pub place: String,
    /// The expected lines, in order.
    pub expected: Vec<String>,
    /// The actual lines.
    pub found: Vec<String>,
}

impl Difference {
    /// The first line that differs.
    pub fn first(&self) -> String {
        let longest = self.expected.len().max(self.found.len());
        let nothing = || "nothing".to_owned();
        let line = |lines: &[String], index: usize| lines.get(index).cloned();
        let differs = |index: &usize| line(&self.expected, *index) != line(&self.found, *index);
        let index = (0..longest).find(differs).unwrap_or(0);
        let expected = line(&self.expected, index).unwrap_or_else(nothing);
        let found = line(&self.found, index).unwrap_or_else(nothing);
        format!("{}, number {index}: expected {expected}, found {found}", self.place)
    }
}

/// All differences of a case.
pub fn compare(case: &Case, outcome: &ReplayOutcome) -> Vec<Difference> {
    let mut differences = outputs(case, outcome);
    if let Some(expected) = &case.peeked {
        peeks(expected, outcome, &mut differences);
    }
    for (name, entries) in &case.store {
        if let Some(found) = outcome.stores.get(name) {
            differences.extend(store(name, entries, found));
        }
    }
    differences
}

fn peeks(expected: &[Peeked], outcome: &ReplayOutcome, differences: &mut Vec<Difference>) {
    let line = |at: Option<usize>, op: &str, key: &Value, value: &Value| {
        let at = at.map_or(String::new(), |at| format!("step {at}: "));
        format!("{at}{op} {key} {value}")
    };
    let has_steps = expected.iter().all(|one| one.at.is_some());
    let wanted = expected
        .iter()
        .map(|one| line(one.at.filter(|_| has_steps), &one.op, &one.key, &one.value));
    let found = outcome.peeked.iter().map(|(at, op, key, value)| {
        line(Some(*at).filter(|_| has_steps), op, &key.to_json(), &json_of(value))
    });
    push(differences, "peeked".to_owned(), wanted.collect(), found.collect());
}

fn push(all: &mut Vec<Difference>, place: String, expected: Vec<String>, found: Vec<String>) {
    if expected != found {
        all.push(Difference { place, expected, found });
    }
}

/// The outputs in the sequences that must be equal, by the sequence's name.
fn outputs(case: &Case, outcome: &ReplayOutcome) -> Vec<Difference> {
    let has_steps = case.output.iter().all(|out| out.at.is_some());
    let has_times = |topic: &str| {
        case.output.iter().filter(|out| out.topic == topic).all(|out| out.ts.is_some())
    };
    let place = |at: Option<usize>, topic: &str, key: &Key| match case.order {
        OutputOrder::Strict => topic.to_owned(),
        OutputOrder::StepSet => {
            let at = at.filter(|_| has_steps).map_or(String::new(), |at| format!("step {at} "));
            format!("{at}{topic} {}", key.to_json())
        }
    };
    let line = |at: Option<usize>, key: &Key, value: &Val, ts: Option<i64>| {
        let at = at.filter(|_| has_steps).map_or(String::new(), |at| format!("step {at}: "));
        let ts = ts.map_or(String::new(), |ts| format!(" @{ts}"));
        format!("{at}{} {}{ts}", key.to_json(), json_of(value))
    };
    let mut sequences: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for Out { at, topic, key, value, ts } in &case.output {
        let key = Key::from_json(key).unwrap_or(Key::Null);
        let value = val(Some(value.clone()));
        let sequence = sequences.entry(place(*at, topic, &key)).or_default();
        sequence.0.push(line(*at, &key, &value, ts.filter(|_| has_times(topic))));
    }
    for (at, topic, key, value, ts) in &outcome.outputs {
        let sequence = sequences.entry(place(Some(*at), topic, key)).or_default();
        sequence.1.push(line(Some(*at), key, value, Some(*ts).filter(|_| has_times(topic))));
    }
    let mut differences = Vec::new();
    for (place, (expected, found)) in sequences {
        push(&mut differences, place, expected, found);
    }
    differences
}

/// A present window must be as expected; a missing one must have been closed.
fn store(name: &str, expected: &[TableEntry], found: &[(Key, Val, i64)]) -> Option<Difference> {
    let line = |key: &Value, value: &Value, ts: Option<i64>| {
        format!("{key} {value}{}", ts.map_or(String::new(), |ts| format!(" @{ts}")))
    };
    let has_times = expected.iter().all(|entry| entry.ts.is_some());
    let found_lines: Vec<_> = found
        .iter()
        .map(|(key, value, ts)| {
            line(&key.to_json(), &json_of(value), Some(*ts).filter(|_| has_times))
        })
        .collect();
    let expected_lines: Vec<_> = expected
        .iter()
        .map(|entry| line(&entry.key, &entry.value, entry.ts.filter(|_| has_times)))
        .collect();
    (expected_lines != found_lines).then(|| Difference {
        place: format!("table {name}"),
        expected: expected_lines,
        found: found_lines,
    })
}

fn json_of(value: &Val) -> Value {
    value.clone().unwrap_or(Value::Null)
}
