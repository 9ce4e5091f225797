//! What the application kept when it last ran, noted in a topic of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{TopicPartition, Topology};

use super::{exists, with_times};
use crate::clock::Clock;
use crate::config::{Config, TopologyChanges};
use crate::error::AppError;
use crate::transport::{
    Admin, ErrorKind, NewTopic, Outgoing, ProducerConfig, ReaderConfig, Transport, TransportError,
};

/// Key of the one record that counts: the last.
const KEY: &[u8] = b"topology";

/// The shape of the topology that is to start, compared with the one that ran before.
pub(crate) struct Shape<'a> {
    log: &'a dyn Transport,
    clock: &'a dyn Clock,
    config: &'a Config,
    topic: Arc<str>,
    lines: BTreeSet<String>,
    /// The internal topics that the application had already.
    kept: BTreeSet<Arc<str>>,
    /// Whether the topic says something else, or nothing.
    is_new: bool,
}

impl<'a> Shape<'a> {
    /// Compares the topology with what the log says about its last run. Touches nothing.
    ///
    /// # Errors
    /// Something of the last run's has no place in this topology, and that is not accepted.
    pub(crate) fn look_up(
        topology: &Topology,
        admin: &mut dyn Admin,
        (log, clock, config): (&'a dyn Transport, &'a dyn Clock, &'a Config),
    ) -> Result<Self, AppError> {
        let application = topology.application_id();
        let topic: Arc<str> = format!("{application}-topology").into();
        let same = Self {
            log,
            clock,
            config,
            topic,
            lines: topology.shape(),
            kept: BTreeSet::new(),
            is_new: false,
        };
        // Without state of its own there is nothing to lose.
        if topology.internal_topics().is_empty() {
            return Ok(same);
        }
        let known = admin.describe(&[Arc::clone(&same.topic)], config.request_timeout)?;
        let before = match known.first() {
            Some(Some(_)) => same.last()?,
            _ => None,
        };
        let Some(before) = before else { return Ok(Self { is_new: true, ..same }) };
        let accepts = config.topology_changes == TopologyChanges::Accept;
        let kept = if accepts { BTreeSet::new() } else { kept(topology, &before) };
        let same = Self { kept, ..same };
        if before == same.lines {
            return Ok(same);
        }
        let difference = difference(&before, &same.lines);
        let is_lost = !before.is_subset(&same.lines);
        if is_lost && !accepts {
            let application = Arc::clone(application);
            return Err(AppError::TopologyChanged { application, difference });
        }
        tracing::info!(app = %application, "the topology has changed:\n{difference}");
        Ok(Self { is_new: true, ..same })
    }

    /// The internal topics that must be there: what they hold cannot be made again.
    pub(crate) fn kept(&self) -> &BTreeSet<Arc<str>> {
        &self.kept
    }

    /// Notes it for the next start.
    pub(crate) fn write(&self, admin: &mut dyn Admin) -> Result<(), AppError> {
        if !self.is_new {
            return Ok(());
        }
        let Config { request_timeout: timeout, replication, .. } = *self.config;
        let policy = ("cleanup.policy".to_owned(), "compact".to_owned());
        let (name, config) = (Arc::clone(&self.topic), with_times(&[policy]));
        let topic = NewTopic { name, partitions: 1, replication, config };
        match admin.create(&topic, timeout) {
            Err(error) if !exists(&error) => return Err(error.into()),
            _ => {}
        }
        let producer = ProducerConfig {
            transactional_id: None,
            transaction_timeout: self.config.transaction_timeout,
            buffer_bytes_max: 1 << 20,
        };
        let mut producer = self.log.producer(&producer)?;
        producer.init(timeout)?;
        let text = self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let sent = producer.send(&Outgoing {
            topic: &self.topic,
            partition: Some(0),
            key: Some(KEY),
            value: Some(text.as_bytes()),
            timestamp: self.clock.now(),
            headers: None,
        });
        sent.and_then(|()| producer.flush(timeout)).map_err(not_there_yet)?;
        Ok(())
    }

    /// What the last record says.
    fn last(&self) -> Result<Option<BTreeSet<String>>, AppError> {
        let (clock, timeout) = (self.clock, self.config.request_timeout);
        let partition = TopicPartition::new(Arc::clone(&self.topic), 0);
        let mut reader = self.log.reader(&ReaderConfig::new(true))?;
        let (begin, end) = reader.bounds(&partition, timeout).map_err(not_there_yet)?;
        if begin >= end {
            return Ok(None);
        }
        reader.add(&partition, begin)?;
        let (mut found, give_up) = (None, clock.monotonic() + timeout);
        while reader.position(&partition).unwrap_or(begin) < end {
            if clock.monotonic() > give_up {
                let context = format!("reading {}", self.topic);
                return Err(TransportError::new(ErrorKind::Retriable, context, "timed out").into());
            }
            for fetched in reader.poll(Duration::from_millis(100), 1_000)? {
                let records = (0..fetched.batch.len()).map(|index| fetched.batch.record(index));
                let values = records.filter_map(|record| record.value);
                found = values.last().map(<[u8]>::to_vec).or(found);
            }
        }
        let lines =
            |text: Vec<u8>| String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        Ok(found.map(lines))
    }
}

/// A topic that was created a moment ago may not be known everywhere.
fn not_there_yet(error: TransportError) -> TransportError {
    match error.kind() {
        ErrorKind::NotFound => {
            TransportError::new(ErrorKind::Retriable, "noting the topology", error)
        }
        _ => error,
    }
}

/// The internal topics of a topology that its last run had too.
fn kept(topology: &Topology, before: &BTreeSet<String>) -> BTreeSet<Arc<str>> {
    let had = |name: &str| {
        let table = format!("table {name} of ");
        before.iter().any(|line| line.starts_with(&table))
    };
    let tables = topology.sub_topologies().iter().flat_map(|sub| sub.tables());
    let changelogs = tables.filter(|table| had(table.name())).map(|table| table.changelog());
    let internal = topology.internal_topics().iter().map(|topic| &topic.name);
    let re_keying = internal.filter(|name| before.contains(&format!("re-keys by {name}")));
    changelogs.chain(re_keying).map(Arc::clone).collect()
}

fn difference(before: &BTreeSet<String>, now: &BTreeSet<String>) -> String {
    let gone = before.difference(now).map(|line| format!("- {line}"));
    let new = now.difference(before).map(|line| format!("+ {line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}
