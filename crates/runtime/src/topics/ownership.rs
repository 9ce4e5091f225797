//! Whose an internal topic is: two applications can come to the same name, `a` with the table `b-c`
//! and `a-b` with the table `c`.
//!
//! The names of a topic's possible owners follow from its own name, and each owner notes what it
//! keeps. So nothing has to be written before a topic is created, and an application that was
//! killed in between is not locked out of its own.

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
    notes: TopologyRecords<'_>,
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
    let known = describe(admin, &names, notes.config.request_timeout)?;
    for ((other, claims), info) in claims.iter().zip(known) {
        let Some(info) = info.filter(topology_record::can_be) else { continue };
        let noted = match notes.last(&info.name) {
            Ok(noted) => noted.unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Refused => {
                tracing::debug!(topic = %info.name, %error, "cannot read what it keeps");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let is_noted =
            |claim: &&OwnershipClaim| noted.iter().any(|line| line.starts_with(&claim.line));
        if let Some(claim) = claims.iter().find(is_noted) {
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

/// What another application would have noted if a topic were its own.
struct OwnershipClaim {
    topic: Arc<str>,
    what: String,
    line: String,
}

/// The applications that would give a topic the same name, and what they would have noted.
fn others(topic: &InternalTopic) -> impl Iterator<Item = (&str, OwnershipClaim)> {
    let name: &str = &topic.name;
    let suffix = match topic.kind {
        InternalKind::Changelog => "-changelog",
        InternalKind::Repartition => "-repartition",
        InternalKind::Ticks => "-ticks",
    };
    let stem = name.strip_suffix(suffix).unwrap_or_default();
    stem.match_indices('-').map(move |(dash, _)| {
        let (application, part) = (&stem[..dash], &stem[dash + 1..]);
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

/// What is known of topics; nothing of those that one may not ask for.
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
                tracing::debug!(topic = %name, %error, "cannot be asked for");
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
