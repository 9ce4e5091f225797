//! Metadata: brokers, and the leaders of topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

/// Version 4 is the first that can forbid the broker to create a topic which is asked for.
pub(super) const API: Api =
    Api { key: 3, name: "Metadata", versions: VersionRange::new(4, 11), flexible_since: 9 };

/// Asks for brokers, and for topics. Never creates a topic.
pub(crate) struct MetadataRequest<'a> {
    pub(crate) topics: &'a [Arc<str>],
}

/// The response: addresses of brokers by their ids, and topics.
#[derive(Default)]
pub(crate) struct MetadataResponse {
    pub(crate) brokers: BTreeMap<i32, String>,
    pub(crate) topics: Vec<MetadataTopic>,
}

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    /// −1 if there is none now.
    pub(crate) broker: i32,
    /// Grows with every change: of two leaders it tells the later one. −1 if the broker is too old
    /// to say it.
    pub(crate) epoch: i32,
}

/// A topic, with the leader of each partition.
pub(crate) struct MetadataTopic {
    pub(crate) code: ErrorCode,
    pub(crate) name: Arc<str>,
    pub(crate) leaders: Vec<Leader>,
}

impl MetadataRequest<'_> {
    pub(crate) fn call(
        &self,
        connection: &mut Connection,
        deadline: Instant,
    ) -> Result<MetadataResponse> {
        let write = |output: &mut RequestWriter| self.write(output);
        connection.call(&API, deadline, write, MetadataResponse::read)
    }

    fn write(&self, output: &mut RequestWriter) {
        output.array(self.topics.len());
        for topic in self.topics {
            if output.version >= 10 {
                output.i64(0); // the topic's id: not known
                output.i64(0);
            }
            output.string(topic);
            output.no_tags();
        }
        output.bool(false); // allow_auto_topic_creation
        if (8..=10).contains(&output.version) {
            output.bool(false); // include_cluster_authorized_operations
        }
        if output.version >= 8 {
            output.bool(false); // include_topic_authorized_operations
        }
        output.no_tags();
    }
}

impl MetadataResponse {
    fn read(input: &mut ResponseReader<'_>) -> Read<Self> {
        input.throttle()?;
        let brokers = input.array(|input| {
            let id = input.i32()?;
            let address = read_address(input)?;
            let _rack = input.nullable_string()?;
            input.tags()?;
            Ok((id, address))
        })?;
        let _cluster_id = input.nullable_string()?;
        let _controller_id = input.i32()?;
        let topics = input.array(MetadataTopic::read)?;
        Ok(Self { brokers: brokers.into_iter().collect(), topics })
    }
}

impl MetadataTopic {
    fn read(input: &mut ResponseReader<'_>) -> Read<Self> {
        let code = ErrorCode(input.i16()?);
        let name = input.string()?.into();
        if input.version >= 10 {
            let _topic_id = (input.i64()?, input.i64()?);
        }
        let _is_internal = input.i8()?;
        let mut partitions = input.array(|input| {
            let _code = input.i16()?;
            let index = input.i32()?;
            let broker = input.i32()?;
            let epoch = if input.version >= 7 { input.i32()? } else { -1 };
            let _replicas = input.array(ResponseReader::i32)?;
            let _in_sync = input.array(ResponseReader::i32)?;
            if input.version >= 5 {
                let _offline = input.array(ResponseReader::i32)?;
            }
            input.tags()?;
            Ok((index, Leader { broker, epoch }))
        })?;
        if input.version >= 8 {
            let _authorized_operations = input.i32()?;
        }
        input.tags()?;
        partitions.sort_unstable_by_key(|(index, _)| *index);
        let leaders = partitions.into_iter().map(|(_, leader)| leader).collect();
        Ok(Self { code, name, leaders })
    }
}

/// Host and port, as `host:port`.
pub(super) fn read_address(input: &mut ResponseReader<'_>) -> Read<String> {
    let host = input.string()?;
    let port = input.i32()?;
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
