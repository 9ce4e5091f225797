//! The record of an application's topology in the topic `{application id}-topology`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use streams_core::TopicPartition;

use super::{already_exists, with_times};
use crate::clock::Clock;
use crate::config::Config;
use crate::transport::{
    Admin, ErrorKind, NewTopic, Outgoing, ProducerConfig, ReaderConfig, Result, TopicInfo,
    Transport, TransportError,
};

/// Key of the record; the last one counts.
const KEY: &[u8] = b"topology";

/// A topic with more records than this is another one: a record is written only when a topology
/// changes.
const RECORDS_MAX: i64 = 100_000;

/// The records of applications on a log.
#[derive(Clone, Copy)]
pub(crate) struct TopologyRecords<'a> {
    pub(crate) log: &'a dyn Transport,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) config: &'a Config,
}

/// The topic in which an application records its topology.
pub(super) fn topic_of(application: &str) -> Arc<str> {
    format!("{application}-topology").into()
}

/// Whether a topic can hold such records: others may have such names, too.
pub(super) fn can_be(topic: &TopicInfo) -> bool {
    topic.partitions == 1 && topic.cleanup_policy == "compact"
}

impl TopologyRecords<'_> {
    /// The last record of a topic that exists, line by line.
    pub(super) fn last(&self, topic: &Arc<str>) -> Result<Option<BTreeSet<String>>> {
        let timeout = self.config.request_timeout;
        let partition = TopicPartition::new(Arc::clone(topic), 0);
        let mut reader = self.log.reader(&ReaderConfig::new(true))?;
        let (begin, end) = reader.bounds(&partition, timeout).map_err(not_there_yet)?;
        if begin >= end || end - begin > RECORDS_MAX {
            return Ok(None);
        }
        reader.add(&partition, begin)?;
        let deadline = self.clock.monotonic() + timeout;
        let mut found = None;
        while reader.position(&partition).unwrap_or(begin) < end {
            if self.clock.monotonic() > deadline {
                let context = format!("reading {topic}");
                return Err(TransportError::new(ErrorKind::Retriable, context, "timed out"));
            }
            for fetched in reader.poll(Duration::from_millis(100), 1_000)? {
                let records = (0..fetched.batch.len()).map(|index| fetched.batch.record(index));
                let topologies = records.filter(|record| record.key == Some(KEY));
                let values = topologies.filter_map(|record| record.value);
                found = values.last().map(<[u8]>::to_vec).or(found);
            }
        }
        let lines =
            |text: Vec<u8>| String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        Ok(found.map(lines))
    }

    /// Records a topology for the next start.
    pub(super) fn write(
        &self,
        topic: &Arc<str>,
        lines: &BTreeSet<String>,
        admin: &mut dyn Admin,
    ) -> Result<()> {
        let Config { request_timeout: timeout, replication, .. } = *self.config;
        let policy = ("cleanup.policy".to_owned(), "compact".to_owned());
        let new = NewTopic {
            name: Arc::clone(topic),
            partitions: 1,
            replication,
            config: with_times(&[policy]),
        };
        match admin.create(&new, timeout) {
            Err(error) if !already_exists(&error) => return Err(error),
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

/// A topic that was created a moment ago may not be known to every broker yet.
fn not_there_yet(error: TransportError) -> TransportError {
    match error.kind() {
        ErrorKind::NotFound => {
            TransportError::new(ErrorKind::Retriable, "recording the topology", error)
        }
        _ => error,
    }
}
