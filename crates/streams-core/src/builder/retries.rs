//! The tables of records that wait for a retry: one for each source with that policy.

use super::graph::{Graph, SourceDraft};
use crate::policy::Retry;
use crate::state::changelog::Layout;
use crate::topology::SourceKind;

/// Declares them, once the policies of all sources are known.
pub(super) fn declare(graph: &mut Graph) {
    for index in 0..graph.sources.len() {
        let source = &graph.sources[index];
        let policy = source.policy.as_ref().unwrap_or(&graph.default_policy);
        // A tick is not a record that could be read again.
        let retry = policy.retries().filter(|_| source.kind != SourceKind::Ticks);
        let Some(retry) = retry else { continue };
        let problem = problem(source, retry);
        let name = name(&graph.application_id, source);
        let node = source.node;
        graph.problems.extend(problem);
        let writer = format!("the retries of {}", graph.sources[index].topic);
        let table = graph.add_table(&name.into(), Layout::Retries, None, &writer, node);
        graph.sources[index].retries = Some(table);
    }
}

/// The names of internal topics already contain the application's id, and the changelog's name
/// will.
fn name(application_id: &str, source: &SourceDraft) -> String {
    let topic = &*source.topic;
    let own = topic.strip_prefix(application_id).and_then(|rest| rest.strip_prefix('-'));
    let own = own.filter(|_| source.kind == SourceKind::Repartition);
    format!("{}-retries", own.unwrap_or(topic))
}

fn problem(source: &SourceDraft, retry: &Retry) -> Option<String> {
    let topic = &source.topic;
    if retry.retries == 0 {
        return Some(format!(
            "the error policy of {topic} retries records 0 times: give a number, or use the \
             policy in `then` directly"
        ));
    }
    if retry.then.retries().is_some() {
        return Some(format!(
            "the error policy of {topic} has a retry after a retry: give \
             `then` another policy, and the first retry more attempts"
        ));
    }
    let concurrent = source.agents.iter().find(|agent| agent.is_concurrent());
    let concurrent = concurrent.filter(|_| retry.hold_key)?;
    let name = concurrent.name();
    Some(if concurrent.feeds_operators() {
        format!(
            "the error policy of {topic} holds keys, but map_async {name} calls with several \
             records of a key at once: let it repeat its calls by Async::retry, or do \
             without hold_key"
        )
    } else {
        format!(
            "the error policy of {topic} holds keys, but several futures of the agent {name} have \
             records at once: do without hold_key, or without concurrency"
        )
    })
}
