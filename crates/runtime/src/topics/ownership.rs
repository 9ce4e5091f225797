//! Whether an internal topic belongs to another application: two applications can come to the same
//! name, `a` with the table `b-c` and `a-b` with the table `c`.
//!
//! The ids of a topic's possible owners follow from its name, and each owner records what it keeps.
//! So nothing has to be written before a topic is created, and an application that was killed in
//! between is not locked out of its own topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{InternalKind, InternalTopic, Topology};

use super::topology_record::{self, TopologyRecords};
use crate::error::AppError;
use crate::transport::{Admin, ErrorKind, Result, TopicInfo};

/// Refuses a topology that would share an internal topic with another application.
pub(super) fn check(
    topology: &Topology,
    admin: &mut dyn Admin,
    records: TopologyRecords<'_>,
) -> std::result::Result<(), AppError> {
    let application = topology.application_id();
    let mut claims: BTreeMap<String, Vec<OwnershipClaim>> = BTreeMap::new();
    for topic in topology.internal_topics() {
        for (other, claim) in others(topic) {
            if *other != **application {
                claims.entry(other.to_owned()).or_default().push(claim);
            }
        }
    }
    let names: Vec<_> = claims.keys().map(|other| topology_record::topic_of(other)).collect();
    let known = describe(admin, &names, records.config.request_timeout)?;
    for ((other, claims), info) in claims.iter().zip(known) {
        let Some(info) = info.filter(topology_record::can_be) else { continue };
        let recorded = match records.last(&info.name) {
            Ok(recorded) => recorded.unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Refused => {
                tracing::debug!(topic = %info.name, %error, "its topology is not readable");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let is_recorded =
            |claim: &&OwnershipClaim| recorded.iter().any(|line| line.starts_with(&claim.line));
        if let Some(claim) = claims.iter().find(is_recorded) {
            return Err(AppError::TopicOfAnother {
                application: Arc::clone(application),
                topic: Arc::clone(&claim.topic),
                what: claim.what.clone(),
                other: other.clone(),
            });
        }
    }
    Ok(())
}

/// What another application would have recorded if a topic were its own.
struct OwnershipClaim {
    topic: Arc<str>,
    what: String,
    line: String,
}

/// The applications that would give a topic the same name, and what they would have recorded.
fn others(topic: &InternalTopic) -> impl Iterator<Item = (&str, OwnershipClaim)> {
    let name: &str = &topic.name;
    let suffix = match topic.kind {
        InternalKind::Changelog => "-changelog",
        InternalKind::Repartition => "-repartition",
        InternalKind::Ticks => "-ticks",
    };
    let stem = name.strip_suffix(suffix).unwrap_or_default();
    stem.match_indices('-').map(move |(dash, _)| {
        let application = &stem[..dash];
        let part = &stem[dash + 1..];
        let (what, line) = match topic.kind {
            InternalKind::Changelog => (format!("the table {part}"), format!("table {part} of ")),
            InternalKind::Ticks => (format!("the ticks {part}"), format!("ticks by {name}")),
            InternalKind::Repartition => {
                (format!("the repartition topic {part}"), format!("re-keys by {name}"))
            }
        };
        (application, OwnershipClaim { topic: Arc::clone(&topic.name), what, line })
    })
}

/// What is known of topics; nothing of those that this application may not ask for.
fn describe(
    admin: &mut dyn Admin,
    names: &[Arc<str>],
    timeout: Duration,
) -> Result<Vec<Option<TopicInfo>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    match admin.describe(names, timeout) {
        Err(error) if error.kind() == ErrorKind::Refused => {}
        known => return known,
    }
    let mut known = Vec::new();
    for name in names {
        known.push(match admin.describe(std::slice::from_ref(name), timeout) {
            Ok(mut one) => one.pop().flatten(),
            Err(error) if error.kind() == ErrorKind::Refused => {
                tracing::debug!(topic = %name, %error, "the topic may not be looked up");
                None
            }
            Err(error) => return Err(error),
        });
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use streams_core::PartitionCount;

    use super::*;

    #[test]
    fn possible_owners_follow_from_the_name() {
        let topic = InternalTopic {
            name: "shop-eu-by-day-changelog".into(),
            kind: InternalKind::Changelog,
            partitions: PartitionCount::LikeSources(0),
            config: Vec::new(),
        };
        let found: Vec<_> = others(&topic).map(|(other, claim)| (other, claim.line)).collect();
        let expected = [
            ("shop", "table eu-by-day of ".to_owned()),
            ("shop-eu", "table by-day of ".to_owned()),
            ("shop-eu-by", "table day of ".to_owned()),
        ];
        assert_eq!(found, expected);
    }
}
