//! The tables of records that wait to be tried again: one for each source whose policy that is.

use super::graph::{Graph, SourceDraft};
use crate::policy::Retry;
use crate::state::changelog::Layout;
use crate::topology::SourceKind;

/// Declares them, when the policies of all sources are known.
pub(super) fn declare(graph: &mut Graph) {
    for index in 0..graph.sources.len() {
        let source = &graph.sources[index];
        let policy = source.policy.as_ref().unwrap_or(&graph.default_policy);
        // A tick is no record that could be read again.
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

/// Internal topics bear the application's id already, and changelogs will.
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
            "the error policy of {topic} tries records again 0 times: say how often, or take what \
             is in `then` for the policy"
        ));
    }
    if retry.then.retries().is_some() {
        return Some(format!(
            "the error policy of {topic} tries records again after it has tried them again: give \
             `then` another policy, and the first one more attempts"
        ));
    }
    let concurrent = source.agents.iter().find(|agent| agent.is_concurrent());
    let concurrent = concurrent.filter(|_| retry.hold_key)?;
    let name = concurrent.name();
    Some(if concurrent.feeds_operators() {
        format!(
            "the error policy of {topic} holds keys back, and map_async {name} calls with several \
             records of a key at once: let it repeat its calls itself, by Async::retry, or do \
             without hold_key"
        )
    } else {
        format!(
            "the error policy of {topic} holds keys back, and several of the agent {name} have \
             records at once: do without hold_key, or without concurrency"
        )
    })
}
