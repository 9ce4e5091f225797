//! The topics that the application would create, and those that the user names: no topic may have
//! two uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::graph::Graph;
use super::names;
use crate::policy::ErrorPolicy;
use crate::topology::NodeKind;
use crate::topology::SourceKind;

pub(super) fn problems(graph: &Graph) -> Vec<String> {
    let own = own(graph);
    let consumed = consumed(graph);
    let letters = dead_letters(graph);
    let mut problems = Vec::new();
    for topic in &letters {
        if let Some(fault) = names::fault(topic) {
            problems.push(format!("the dead-letter topic {topic:?} {fault}"));
        }
        if consumed.contains(topic) {
            problems.push(format!(
                "the dead-letter topic {topic} is consumed by the application itself: a record \
                 that fails there would return endlessly. Read it with another application"
            ));
        }
    }
    let mut of_users: BTreeSet<Arc<str>> = consumed.into_iter().chain(letters).collect();
    of_users.extend(sinks(graph));
    problems.extend(taken(&own, &of_users));
    problems.extend(too_long(&own));
    problems.extend(collisions(&own, &of_users));
    problems
}

/// The application's own topics, with their uses.
fn own(graph: &Graph) -> BTreeMap<Arc<str>, String> {
    let id = &graph.application_id;
    let mut own = BTreeMap::new();
    for source in graph.sources.iter().filter(|one| one.kind == SourceKind::Repartition) {
        own.insert(Arc::clone(&source.topic), "a repartition topic".to_owned());
    }
    for source in graph.sources.iter().filter(|one| one.kind == SourceKind::Ticks) {
        own.insert(Arc::clone(&source.topic), "the topic of ticks".to_owned());
    }
    for table in &graph.tables {
        let changelog = format!("{id}-{}-changelog", table.name);
        own.insert(changelog.into(), format!("the changelog of the table {}", table.name));
    }
    if !own.is_empty() {
        own.insert(format!("{id}-topology").into(), "its record of the topology".to_owned());
    }
    own
}

fn consumed(graph: &Graph) -> BTreeSet<Arc<str>> {
    let sources = graph.sources.iter().filter(|source| source.kind == SourceKind::User);
    let sources = sources.map(|source| Arc::clone(&source.topic));
    sources.chain(graph.globals.iter().map(|global| Arc::clone(&global.topic))).collect()
}

fn dead_letters(graph: &Graph) -> BTreeSet<Arc<str>> {
    let policies = graph.sources.iter().filter_map(|source| source.policy.as_ref());
    let policies = policies.chain([&graph.default_policy]);
    policies.filter_map(ErrorPolicy::dead_letters).map(Arc::clone).collect()
}

fn sinks(graph: &Graph) -> impl Iterator<Item = Arc<str>> {
    graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Sink(topic) => Some(Arc::clone(topic)),
        _ => None,
    })
}

fn taken(own: &BTreeMap<Arc<str>, String>, of_users: &BTreeSet<Arc<str>>) -> Vec<String> {
    let taken = own.iter().filter(|(topic, _)| of_users.contains(*topic));
    let problem = |(topic, what): (&Arc<str>, &String)| {
        format!(
            "the topic {topic} is used as one of yours, but the application would create it as \
             {what}: give one of them another name"
        )
    };
    taken.map(problem).collect()
}

/// Reports names that are too long in combination, although each part is allowed.
fn too_long(own: &BTreeMap<Arc<str>, String>) -> Vec<String> {
    let long = own.iter().filter(|(topic, _)| topic.len() > names::TOPIC_NAME_MAX);
    let problem = |(topic, what): (&Arc<str>, &String)| {
        format!(
            "the topic {topic}, {what}, would have a name of {} characters, and Kafka allows {}: \
             choose shorter names",
            topic.len(),
            names::TOPIC_NAME_MAX
        )
    };
    long.map(problem).collect()
}

/// In its metrics, Kafka treats two names as equal if they differ only in '.' and '_', and it
/// refuses to create the second.
fn collisions(own: &BTreeMap<Arc<str>, String>, of_users: &BTreeSet<Arc<str>>) -> Vec<String> {
    let unified = |topic: &str| topic.replace('.', "_");
    let mut seen: BTreeMap<String, &Arc<str>> =
        of_users.iter().map(|topic| (unified(topic), topic)).collect();
    let mut problems = Vec::new();
    for topic in own.keys() {
        let earlier = seen.insert(unified(topic), topic);
        if let Some(earlier) = earlier.filter(|earlier| *earlier != topic) {
            problems.push(format!(
                "the topics {earlier} and {topic} differ only in '.' and '_', which Kafka treats \
                 as equal: give one of them another name"
            ));
        }
    }
    problems
}
