//! The outcome of a simulated run.

use std::collections::BTreeMap;
use std::sync::Arc;

use streams_core::{CodecError, OwnedRecord, Record, Table, Topic};

use super::check;
use super::incident::{Incident, Incidents};
use super::world::SimulatedWorld;
use crate::lock::lock;

/// A run that passed the kit's own checks. Checking what it wrote is up to you.
pub struct Outcome(Arc<SimulatedWorld>);

streams_core::debug_is_display!(OutcomeError);

/// The outcome cannot be read.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// The topic cannot be read.
    #[error("{0}")]
    Log(String),
    /// A record cannot be decoded with the topic's codecs.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Outcome {
    pub(super) fn new(world: Arc<SimulatedWorld>) -> Self {
        Self(world)
    }

    /// The committed records of a topic, including fed ones, partition by partition, in offset
    /// order.
    ///
    /// # Errors
    /// A record that cannot be decoded.
    pub fn committed<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
    ) -> Result<Vec<Record<K, V>>, OutcomeError> {
        let decode = |raw: OwnedRecord| {
            Ok(Record {
                key: topic.key_codec().decode(raw.key.as_deref())?,
                value: topic.value_codec().decode(raw.value.as_deref())?,
                timestamp: raw.timestamp,
            })
        };
        self.committed_raw(topic.name())?.into_iter().map(decode).collect()
    }

    /// The same in bytes.
    ///
    /// # Errors
    /// A topic that cannot be read.
    pub fn committed_raw(&self, topic: &str) -> Result<Vec<OwnedRecord>, OutcomeError> {
        let mut records = Vec::new();
        for partition in check::partitions(&self.0, topic).map_err(OutcomeError::Log)? {
            let of_partition = check::committed(&self.0, &partition).map_err(OutcomeError::Log)?;
            records.extend(of_partition.records);
        }
        Ok(records)
    }

    /// The final rows of a table without windows, according to its changelog.
    ///
    /// # Errors
    /// A table that the topology does not have, or an entry that cannot be decoded.
    pub fn table_rows<K: Ord + 'static, V: 'static>(
        &self,
        table: &Table<K, V>,
    ) -> Result<BTreeMap<K, V>, OutcomeError> {
        let topology = (self.0.topology)();
        let tables = topology.sub_topologies().iter().flat_map(|sub| sub.tables());
        let spec = tables.into_iter().find(|spec| spec.name() == table.name());
        let missing = || OutcomeError::Log(format!("there is no table {}", table.name()));
        let spec = spec.ok_or_else(missing)?;
        let entries = check::entries(&self.0, spec).map_err(OutcomeError::Log)?;
        let mut rows = BTreeMap::new();
        for (store_key, stored) in entries.iter().filter(|(key, _)| !spec.is_index(key)) {
            let key = spec.changelog_key(store_key);
            // The store keeps a timestamp of eight bytes in front.
            let value = stored.get(8..).unwrap_or_default();
            let value = table.value_codec().decode(Some(value))?;
            rows.insert(table.key_codec().decode(Some(&key))?, value);
        }
        Ok(rows)
    }

    /// The incidents, and how often each happened.
    pub fn incidents(&self) -> Incidents {
        let mut incidents = lock(&self.0.incidents).clone();
        incidents.add(Incident::Fenced, self.0.ledger.fenced());
        incidents.add(Incident::MemberLost, self.0.ledger.lost());
        incidents
    }

    /// How many transactions the log took.
    pub fn transactions(&self) -> u64 {
        self.0.ledger.transactions()
    }

    /// Everything that happened, one line each.
    pub fn history(&self) -> String {
        lock(&self.0.history).join("\n")
    }
}
