//! What is set for fetching.

use std::time::Duration;

use super::properties::{bytes, millis};
use super::{ConnectionSettings, Properties, UnsupportedProperty};
use crate::connection::RESPONSE_MAX;

/// What fetching needs to know.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    pub(crate) connection: ConnectionSettings,
    /// How long a broker waits until there is something.
    pub(crate) wait: Duration,
    /// Bytes of one response.
    pub(crate) response_bytes: usize,
    /// Bytes of one partition's part of a response.
    pub(crate) partition_bytes: usize,
    pub(crate) read_committed: bool,
}

impl FetchSettings {
    /// Takes what the user set. With `read_committed`, records of open and aborted transactions are
    /// left out.
    ///
    /// # Errors
    /// The first property that this client does not know, or not with this value.
    pub fn new(
        bootstrap_servers: &str,
        properties: Properties<'_>,
        read_committed: bool,
    ) -> Result<Self, UnsupportedProperty> {
        let mut settings = Self {
            connection: ConnectionSettings::new(bootstrap_servers, properties)?,
            wait: Duration::from_millis(100),
            response_bytes: 4 << 20,
            partition_bytes: 1 << 20,
            read_committed,
        };
        for (name, value) in properties.of_the_client() {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    /// How the cluster is reached.
    pub fn connection(&self) -> &ConnectionSettings {
        &self.connection
    }

    /// How old a response may be that says that a partition has nothing more: twice what a broker
    /// may take that has nothing, and a moment for a busy machine.
    pub(crate) fn response_within(&self) -> Duration {
        self.wait.saturating_mul(2).saturating_add(Duration::from_millis(500))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UnsupportedProperty> {
        match name {
            "fetch.wait.max.ms" => self.wait = millis(name, value)?,
            // Twice as much still has room for a batch that is larger than that.
            "fetch.max.bytes" => self.response_bytes = bytes(name, value)?.min(RESPONSE_MAX / 2),
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => {
                self.partition_bytes = bytes(name, value)?;
            }
            _ => return Err(UnsupportedProperty::of_name(name)),
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn plain(bootstrap_servers: &str) -> Self {
        let none = std::collections::BTreeMap::new();
        let properties = Properties { common: &none, own: &none, oauth: None };
        Self::new(bootstrap_servers, properties, true).expect("known")
    }
}
