//! What an application notes in its topic `{application id}-topology`: reading and writing it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::TopicPartition;

use super::{exists, with_times};
use crate::clock::Clock;
use crate::config::Config;
use crate::transport::{
    Admin, ErrorKind, NewTopic, Outgoing, ProducerConfig, ReaderConfig, Result, TopicInfo,
    Transport, TransportError,
};

/// Key of the one record that counts: the last.
const KEY: &[u8] = b"topology";

/// So many records no note has: one is written when a topology changes.
const RECORDS_MAX: i64 = 100_000;

/// The notes of applications on a log.
#[derive(Clone, Copy)]
pub(super) struct TopologyRecords<'a> {
    pub(super) log: &'a dyn Transport,
    pub(super) clock: &'a dyn Clock,
    pub(super) config: &'a Config,
}

/// The topic that an application notes its shape in.
pub(super) fn topic_of(application: &str) -> Arc<str> {
    format!("{application}-topology").into()
}

/// Whether a topic can be one of notes: others may have such names too.
pub(super) fn can_be(topic: &TopicInfo) -> bool {
    topic.partitions == 1 && topic.cleanup_policy == "compact"
}

impl TopologyRecords<'_> {
    /// What the last record of a topic that exists says.
    pub(super) fn last(&self, topic: &Arc<str>) -> Result<Option<BTreeSet<String>>> {
        let timeout = self.config.request_timeout;
        let partition = TopicPartition::new(Arc::clone(topic), 0);
        let mut reader = self.log.reader(&ReaderConfig::new(true))?;
        let (begin, end) = reader.bounds(&partition, timeout).map_err(not_there_yet)?;
        if begin >= end || end - begin > RECORDS_MAX {
            return Ok(None);
        }
        reader.add(&partition, begin)?;
        let (mut found, give_up) = (None, self.clock.monotonic() + timeout);
        while reader.position(&partition).unwrap_or(begin) < end {
            if self.clock.monotonic() > give_up {
                let context = format!("reading {topic}");
                return Err(TransportError::new(ErrorKind::Retriable, context, "timed out"));
            }
            for fetched in reader.poll(Duration::from_millis(100), 1_000)? {
                let records = (0..fetched.batch.len()).map(|index| fetched.batch.record(index));
                let notes = records.filter(|record| record.key == Some(KEY));
                let values = notes.filter_map(|record| record.value);
                found = values.last().map(<[u8]>::to_vec).or(found);
            }
        }
        let lines =
            |text: Vec<u8>| String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        Ok(found.map(lines))
    }

    /// Notes it for the next start.
    pub(super) fn write(
        &self,
        topic: &Arc<str>,
        lines: &BTreeSet<String>,
        admin: &mut dyn Admin,
    ) -> Result<()> {
        let Config { request_timeout: timeout, replication, .. } = *self.config;
        let policy = ("cleanup.policy".to_owned(), "compact".to_owned());
        let (name, config) = (Arc::clone(topic), with_times(&[policy]));
        let new = NewTopic { name, partitions: 1, replication, config };
        match admin.create(&new, timeout) {
            Err(error) if !exists(&error) => return Err(error),
            _ => {}
        }
        let producer = ProducerConfig {
            transactional_id: None,
            transaction_timeout: self.config.transaction_timeout,
            buffer_bytes_max: 1 << 20,
        };
        let mut producer = self.log.producer(&producer)?;
        producer.init(timeout)?;
        let text = lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let sent = producer.send(&Outgoing {
            topic,
            partition: Some(0),
            key: Some(KEY),
            value: Some(text.as_bytes()),
            timestamp: self.clock.now(),
            headers: None,
        });
        sent.and_then(|()| producer.flush(timeout)).map_err(not_there_yet)
    }

    /// Whether nothing was ever written to a topic.
    pub(super) fn is_new(&self, topic: &TopicInfo) -> Result<bool> {
        let mut reader = self.log.reader(&ReaderConfig::new(true))?;
        for partition in 0..topic.partitions {
            let partition = TopicPartition::new(Arc::clone(&topic.name), partition);
            if reader.bounds(&partition, self.config.request_timeout)?.1 > 0 {
                return Ok(false);
            }
        }
        Ok(true)
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
