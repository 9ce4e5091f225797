//! Selects the cases that end with the same tables however the partitions' records interleave.

use std::collections::{BTreeMap, BTreeSet};

use conformance::case::{Case, Op};
use serde_json::{Value, json};

/// A case with windows that never close, and the results to compare.
pub(crate) struct OrderFree {
    pub(crate) case: Case,
    /// Tables by name.
    pub(crate) tables: BTreeSet<String>,
    /// Topics that tables are sent to: the last value of each key.
    pub(crate) topics: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Whether records with equal keys keep their order.
    Stream {
        ordered: bool,
    },
    Grouped {
        ordered: bool,
    },
    /// Rows whose last value does not depend on the interleaving.
    Table,
    GroupedTable,
    /// The updates depend on the interleaving.
    Updates,
}

/// A grace period longer than any case lasts, so that nothing is late.
const FOREVER_MS: i64 = 100_000_000_000;

/// `None` if the results of a case may depend on the interleaving.
pub(crate) fn order_free(case: &Case) -> Option<OrderFree> {
    let mut kinds = BTreeMap::new();
    for source in &case.topology.sources {
        let kind = match (&source.stream, &source.table) {
            (Some(_), _) => Kind::Stream { ordered: true },
            (_, Some(_)) => Kind::Table,
            _ => return None,
        };
        kinds.insert(source.id.clone(), kind);
    }
    let mut tables = BTreeSet::new();
    for op in &case.topology.ops {
        let kind = kind(op, &kinds)?;
        if let (Kind::Table, Some(name)) = (kind, op.store().ok()?) {
            tables.insert(name);
        }
        kinds.insert(op.id.clone(), kind);
        for branch in op.members.get("branches").and_then(Value::as_array).into_iter().flatten() {
            kinds.insert(format!("{}.{}", op.id, branch["name"].as_str()?), kind);
        }
        if let Some(default) = op.members.get("default").and_then(Value::as_str) {
            kinds.insert(format!("{}.{default}", op.id), kind);
        }
    }
    let topics = topics(case, &kinds);
    let mut case = case.clone();
    case.topology.ops.iter_mut().for_each(keep_windows_open);
    let anything = !tables.is_empty() || !topics.is_empty();
    anything.then_some(OrderFree { case, tables, topics })
}

/// The topics to which exactly one table, and nothing else, is sent.
fn topics(case: &Case, kinds: &BTreeMap<String, Kind>) -> BTreeSet<String> {
    let mut senders: BTreeMap<&str, Vec<Option<Kind>>> = BTreeMap::new();
    for sink in &case.topology.sinks {
        let kind = kinds.get(&sink.from).copied();
        let by = sink.topic_by.iter().flat_map(|by| by.topics.values().chain([&by.default]));
        by.for_each(|topic| senders.entry(topic).or_default().push(None));
        sink.topic.iter().for_each(|topic| senders.entry(topic).or_default().push(kind));
    }
    let alone = senders.into_iter().filter(|(_, kinds)| kinds[..] == [Some(Kind::Table)]);
    alone.map(|(topic, _)| topic.to_owned()).collect()
}

fn keep_windows_open(op: &mut Op) {
    if let Some(window) = op.members.get_mut("window").filter(|window| window.is_object()) {
        window["grace_ms"] = json!(FOREVER_MS);
        op.members.remove("retention_ms");
    }
}

fn kind(op: &Op, kinds: &BTreeMap<String, Kind>) -> Option<Kind> {
    let named = |member: &str| {
        let name = op.members.get(member).and_then(Value::as_str);
        name.and_then(|name| kinds.get(name)).copied()
    };
    let from = named("from");
    Some(match op.op.as_str() {
        "filter" | "filter_not" if from? == Kind::Updates => return None,
        "filter" | "filter_not" | "map_values" | "flat_map_values" | "peek" | "split" => from?,
        "map" | "select_key" | "flat_map" | "repartition" | "merge" => {
            let all = match op.members.get("from")? {
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                name => vec![name.as_str()?],
            };
            let is_stream = |name: &&str| matches!(kinds.get(*name), Some(Kind::Stream { .. }));
            all.iter().all(is_stream).then_some(Kind::Stream { ordered: false })?
        }
        "group_by_key" | "group_by" => match from? {
            Kind::Stream { ordered } => {
                Kind::Grouped { ordered: ordered && op.op == "group_by_key" }
            }
            Kind::Table => Kind::GroupedTable,
            _ => return None,
        },
        "count" | "reduce" | "aggregate" => aggregated(op, from?)?,
        "cogroup" => {
            let streams = op.members.get("streams")?.as_array()?;
            let commute = streams.iter().all(|stream| commutes(&stream["agg"]));
            (commute && !is_session(op)).then_some(Kind::Table)?
        }
        "to_stream" => Kind::Updates,
        "to_table" if from? == (Kind::Stream { ordered: true }) => Kind::Table,
        "join" | "fk_join" => {
            let both = [named("left")?, named("right")?] == [Kind::Table; 2];
            both.then_some(Kind::Table)?
        }
        _ => return None,
    })
}

fn aggregated(op: &Op, from: Kind) -> Option<Kind> {
    let updates = !op.has("emit");
    let agg = op.members.get("agg").unwrap_or(&Value::Null);
    let free = match from {
        Kind::Grouped { ordered: true } => true,
        Kind::Grouped { ordered: false } => {
            let commute = op.op == "count" || op.op == "aggregate" && commutes(agg);
            commute && !is_session(op)
        }
        Kind::GroupedTable => {
            let subtract = op.members.get("subtract").unwrap_or(&Value::Null);
            op.op == "count" || op.op == "aggregate" && commutes(agg) && commutes(subtract)
        }
        _ => false,
    };
    (updates && free).then_some(Kind::Table)
}

fn commutes(agg: &Value) -> bool {
    let known = ["count", "uncount", "sum", "sub", "min", "max", "tally"];
    let name = agg["fn"].as_str().unwrap_or_default();
    known.contains(&name) && agg.get("null_if_zero").is_none()
}

/// The number of session merges depends on the order, and with it how often the first value counts.
fn is_session(op: &Op) -> bool {
    op.members.get("window").is_some_and(|window| window["type"] == "session")
}
