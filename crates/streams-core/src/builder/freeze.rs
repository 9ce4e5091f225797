//! Freezing: from lists to a checked, immutable topology with sub-topologies and internal topics.
//! All problems are reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::graph::{Graph, TableDraft};
use super::{own_topics, retries, types};
use crate::error::BuildError;
use crate::limits::METADATA_MAX;
use crate::policy::ErrorPolicy;
use crate::state::changelog::{Layout, TableSpec};
use crate::stored_format::StoredFormat;
use crate::tick::TickSource;
use crate::topology::NodeKind;
use crate::topology::{
    InternalKind, InternalTopic, PartitionCount, Source, SourceKind, SubTopology, Topology,
};

/// The size of an entry of an offset's metadata, without its name.
const ENTRY_BYTES: usize = 24;

pub(super) fn freeze(mut graph: Graph) -> Result<Topology, BuildError> {
    std::mem::take(&mut graph.at_freeze).into_iter().for_each(|freeze| freeze());
    retries::declare(&mut graph);
    let component = components(&graph);
    check(&mut graph);
    check_globals(&mut graph);
    let sub_topologies = sub_topologies(&mut graph, &component);
    check_metadata(&mut graph, &sub_topologies);
    if !graph.problems.is_empty() {
        return Err(BuildError { problems: graph.problems });
    }
    let internal_topics = internal_topics(&graph, &sub_topologies, &component);
    let sink_topics = sink_topics(&graph);
    let table_names = graph.tables.iter().map(|table| Arc::clone(&table.name)).collect();
    Ok(Topology {
        application_id: graph.application_id,
        sub_topologies,
        globals: graph.globals,
        internal_topics,
        sink_topics,
        nodes: graph.nodes,
        component,
        table_names,
        states: graph.states,
        clock_names: graph.clocks.into_iter().map(|clock| clock.name).collect(),
    })
}

/// For each node, the number of its sub-topology. Nodes belong together if they are connected or
/// share a table. Sub-topologies are numbered in the order in which their first node was described.
fn components(graph: &Graph) -> Vec<usize> {
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    let mut first_user = vec![None; graph.tables.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for &parent in &node.parents {
            unite(&mut group, id, parent);
        }
        for &table in &node.tables {
            let user = *first_user[table].get_or_insert(id);
            unite(&mut group, id, user);
        }
    }
    let mut numbers = BTreeMap::new();
    group
        .iter()
        .map(|root| {
            let next = numbers.len();
            *numbers.entry(*root).or_insert(next)
        })
        .collect()
}

fn unite(group: &mut [usize], a: usize, b: usize) {
    let from = group[a].max(group[b]);
    let to = group[a].min(group[b]);
    group.iter_mut().filter(|root| **root == from).for_each(|root| *root = to);
}

fn check(graph: &mut Graph) {
    let mut problems = Vec::new();
    if graph.sources.is_empty() {
        problems.push(
            "it has no source, so it consumes nothing: add a stream, a table or ticks".to_owned(),
        );
    }
    for source in graph.sources.iter().filter(|source| source.kind != SourceKind::Ticks) {
        if source.receivers.is_empty() && source.agents.is_empty() {
            problems.push(format!(
                "the stream of {} is never used: end it in a sink, a table or an aggregation",
                source.topic
            ));
        }
    }
    for ticks in graph.ticks.iter().filter(|ticks| ticks.next.is_none()) {
        if let NodeKind::Ticks(shown) = &graph.nodes[ticks.node].kind {
            problems.push(format!(
                "the ticks {} are never used: end their stream in a sink, a table or an \
                 aggregation",
                shown.name
            ));
        }
    }
    for table in &graph.tables {
        if table.writer.is_none() {
            problems.push(format!("the table {} is read, but nothing writes it", table.name));
        }
        problems.extend(unreadable(table));
        problems.extend(other_ttl(table));
    }
    problems.extend(duplicates(graph));
    problems.extend(types::clashes("topic", &graph.topic_uses));
    problems.extend(types::clashes("table", &graph.table_uses));
    problems.extend(own_topics::problems(graph));
    graph.problems.extend(problems);
}

/// Only joins, suppress and retries can read their own tables.
fn unreadable(table: &TableDraft) -> Option<String> {
    let has_rows = matches!(table.layout, Layout::KeyValue | Layout::Ordered);
    let is_readable = has_rows || table.windows.is_some();
    let reader = table.readers.first().filter(|_| !is_readable)?;
    let name = &table.name;
    let kind = table.layout.describe();
    Some(format!("{reader} reads the table {name}, whose keys are {kind}: it would find no rows"))
}

/// A reader expects another ttl than the writer's.
fn other_ttl(table: &TableDraft) -> Option<String> {
    let kept = table.ttl.map(|ttl| ttl.ms);
    let (reader, ttl_ms) = table.read_ttls.iter().find(|(_, ttl_ms)| Some(*ttl_ms) != kept)?;
    let name = &table.name;
    let kept = kept.map_or("no ttl".to_owned(), |ms| format!("a ttl of {ms} ms"));
    Some(format!(
        "{reader} reads the table {name} with a ttl of {ttl_ms} ms, but its writer has {kept}: \
         only the writer's counts, so make them equal"
    ))
}

/// A global table also occupies its name as a table, and no stream may consume its topic.
fn check_globals(graph: &mut Graph) {
    let mut problems = Vec::new();
    for (number, global) in graph.globals.iter().enumerate() {
        let name = &global.name;
        let earlier = graph.globals[..number].iter().any(|other| other.name == *name);
        if earlier || graph.tables.iter().any(|table| table.name == *name) {
            problems.push(format!(
                "the global table {name} has the name of another table: give it another name"
            ));
        }
        if graph.sources.iter().any(|source| source.topic == global.topic) {
            problems.push(format!(
                "the topic {} is consumed by a stream and by the global table {name}: only one of \
                 them can consume it",
                global.topic
            ));
        }
    }
    graph.problems.extend(problems);
}

/// Topics or agents that have the same name.
fn duplicates(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for node in &graph.nodes {
        let name = match &node.kind {
            NodeKind::Agent(name) | NodeKind::Calls(name) => {
                format!("the name {name} of an agent or a map_async")
            }
            NodeKind::Processor(name) => format!("the processor {name}"),
            NodeKind::Repartition(topic) => format!("the repartition topic {topic}"),
            NodeKind::Ticks(ticks) => format!("the name {} of ticks", ticks.name),
            _ => continue,
        };
        if !seen.insert(name.clone()) {
            problems.push(format!("{name} is used twice: give each its own name"));
        }
    }
    problems
}

fn sub_topologies(graph: &mut Graph, component: &[usize]) -> Vec<SubTopology> {
    let count = component.iter().max().map_or(0, |max| max + 1);
    let mut all: Vec<SubTopology> = (0..count).map(SubTopology::empty).collect();
    let default_policy = graph.default_policy.clone();
    for draft in std::mem::take(&mut graph.sources) {
        let extracts_times = draft.receivers.iter().any(|one| one.extracts_times())
            || draft.agents.iter().any(|one| one.extracts_times());
        let source = Source {
            extracts_times,
            policy: draft.policy.unwrap_or_else(|| default_policy.clone()),
            topic: draft.topic,
            kind: draft.kind,
            start: draft.start,
            retries: draft.retries,
            max_ahead_ms: draft.max_ahead_ms,
            receivers: draft.receivers.into(),
            agents: draft.agents.into(),
        };
        all[component[draft.node]].sources.push(source);
    }
    place_tables(graph, component, &mut all);
    for (index, clock) in graph.clocks.iter().enumerate() {
        all[component[clock.node]].clocks.push(index);
    }
    for (node, hook) in std::mem::take(&mut graph.hooks) {
        all[component[node]].hooks.push(hook);
    }
    place_ticks(graph, component, &mut all);
    all
}

fn place_ticks(graph: &mut Graph, component: &[usize], all: &mut [SubTopology]) {
    for draft in std::mem::take(&mut graph.ticks) {
        let sub = &mut all[component[draft.node]];
        let NodeKind::Ticks(shown) = &graph.nodes[draft.node].kind else { continue };
        // What is missing was already reported as a problem.
        let (Some(schedule), Some(next)) = (draft.schedule, draft.next) else { continue };
        let own = |source: &Source| shown.topic.as_ref() == Some(&source.topic);
        let name = shown.name.to_string();
        sub.ticks.push(TickSource {
            schedule,
            missed: draft.missed,
            input: sub.sources.iter().position(own).unwrap_or(0),
            // No other clock has such a name.
            last_name: format!("{name}/tick"),
            done_name: format!("{name}/done"),
            name,
            next,
        });
    }
}

fn place_tables(graph: &Graph, component: &[usize], all: &mut [SubTopology]) {
    let mut home = vec![None; graph.tables.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for &table in &node.tables {
            home[table] = Some(component[id]);
        }
    }
    for sub in all {
        let mut specs = Vec::new();
        sub.local = vec![usize::MAX; graph.tables.len()].into();
        for (index, table) in graph.tables.iter().enumerate() {
            if home[index] != Some(sub.id) {
                continue;
            }
            sub.local[index] = specs.len();
            specs.push(table_spec(&graph.application_id, table));
        }
        sub.tables = specs.into();
    }
}

fn table_spec(application_id: &str, table: &TableDraft) -> TableSpec {
    TableSpec {
        name: Arc::clone(&table.name),
        changelog: format!("{application_id}-{}-changelog", table.name).into(),
        layout: table.layout,
        // A reader finds the windows of a key by going from one to the next.
        is_ranged: table.is_ranged || (table.windows.is_some() && !table.readers.is_empty()),
        ttl: table.ttl,
        terms: match &table.types {
            Some(types) => types.terms(table.windows.clone()),
            None => StoredFormat::default(),
        },
    }
}

fn check_metadata(graph: &mut Graph, sub_topologies: &[SubTopology]) {
    for sub in sub_topologies {
        let closing = sub.clocks.iter().filter(|clock| graph.clocks[**clock].closes);
        let clocks = sub.clocks.iter().chain(closing.clone()).chain(closing);
        let clocks = clocks.map(|&clock| graph.clocks[clock].name.len());
        let agents = sub.sources.iter().flat_map(|source| source.agents.iter());
        let agents = agents.map(|agent| agent.name().len());
        let tables = sub.tables.iter().map(|table| table.name().len());
        let ticks = sub.ticks.iter().flat_map(|one| [one.last_name.len(), one.done_name.len()]);
        let entries = clocks.chain(agents).chain(tables).chain(ticks);
        let length: usize = entries.map(|name| name + ENTRY_BYTES).sum();
        if length > METADATA_MAX {
            graph.problems.push(format!(
                "sub-topology {} has so many tables and agents that their progress does \
                 not fit beside an offset ({length} of {METADATA_MAX} bytes): split it with a \
                 repartition topic or shorten the names",
                sub.id
            ));
        }
    }
}

fn internal_topics(
    graph: &Graph,
    sub_topologies: &[SubTopology],
    component: &[usize],
) -> Vec<InternalTopic> {
    let mut topics = Vec::new();
    for sub in sub_topologies {
        for source in sub.sources.iter().filter(|source| source.kind == SourceKind::Repartition) {
            let name = Arc::clone(&source.topic);
            let has_user_source =
                sub.sources.iter().any(|other| other.kind != SourceKind::Repartition);
            let partitions = if has_user_source {
                PartitionCount::LikeSources(sub.id)
            } else {
                PartitionCount::MaxOf(writers(graph, component, sub))
            };
            topics.push(InternalTopic {
                name,
                kind: InternalKind::Repartition,
                partitions,
                config: config(&[("cleanup.policy", "delete"), ("retention.ms", "-1")]),
            });
        }
        let ticks = sub.sources.iter().filter(|source| source.kind == SourceKind::Ticks);
        topics.extend(ticks.map(|source| InternalTopic {
            name: Arc::clone(&source.topic),
            kind: InternalKind::Ticks,
            partitions: PartitionCount::Exactly(1),
            config: config(&[("cleanup.policy", "delete")]),
        }));
        topics.extend(sub.tables.iter().map(|table| InternalTopic {
            name: Arc::clone(&table.changelog),
            kind: InternalKind::Changelog,
            partitions: PartitionCount::LikeSources(sub.id),
            // Windows too: they are deleted by tombstones when they close. Kafka Streams'
            // `compact,delete` uses record time, so it would delete open windows when old data is
            // processed again.
            // Tombstones stay long enough for every store that is brought up to date. A store that
            // is older than that is restored from scratch.
            config: config(&[("cleanup.policy", "compact"), ("delete.retention.ms", "86400000")]),
        }));
    }
    topics
}

fn config(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The sub-topologies that write any of the topics that `sub` reads. All these topics need the same
/// number of partitions.
fn writers(graph: &Graph, component: &[usize], sub: &SubTopology) -> Vec<usize> {
    let reads = |topic: &Arc<str>| sub.sources.iter().any(|source| source.topic == *topic);
    let writes = |kind: &NodeKind| matches!(kind, NodeKind::Repartition(name) if reads(name));
    let nodes = graph.nodes.iter().zip(component);
    let all: BTreeSet<usize> =
        nodes.filter(|(node, _)| writes(&node.kind)).map(|(_, sub)| *sub).collect();
    all.into_iter().collect()
}

fn sink_topics(graph: &Graph) -> Vec<Arc<str>> {
    let mut topics = BTreeSet::new();
    for node in &graph.nodes {
        if let NodeKind::Sink(topic) = &node.kind {
            topics.insert(Arc::clone(topic));
        }
    }
    let policies = graph.sources.iter().filter_map(|source| source.policy.as_ref());
    let policies = policies.chain([&graph.default_policy]);
    topics.extend(policies.filter_map(ErrorPolicy::dead_letters).map(Arc::clone));
    topics.into_iter().collect()
}
