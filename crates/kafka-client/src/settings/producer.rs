//! What is set for producing.

use std::time::Duration;

use super::properties::{bytes, millis};
use super::{ConnectionSettings, Properties, UnsupportedProperty};
use crate::records::Compression;

/// What a transactional producer needs to know.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    pub(crate) connection: ConnectionSettings,
    pub(crate) transactional_id: String,
    pub(crate) transaction_timeout: Duration,
    /// Bytes of records that may wait or be in flight, before compression.
    pub(crate) buffer_bytes: usize,
    pub(crate) compression: Compression,
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
}

/// Less than this does not keep a broker busy.
const BUFFER_BYTES_MIN: usize = 4 << 20;

impl ProducerSettings {
    /// Takes what the user set. After `transaction_timeout` the coordinator aborts a transaction
    /// that is left open. At most `buffer_bytes` of records may wait or be in flight (at least
    /// 4 MiB).
    ///
    /// # Errors
    /// The first property that this client does not know, or not with this value.
    pub fn new(
        bootstrap_servers: &str,
        properties: Properties<'_>,
        transactional_id: &str,
        transaction_timeout: Duration,
        buffer_bytes: usize,
    ) -> Result<Self, UnsupportedProperty> {
        let mut settings = Self {
            connection: ConnectionSettings::new(bootstrap_servers, properties)?,
            transactional_id: transactional_id.to_owned(),
            transaction_timeout,
            buffer_bytes: buffer_bytes.max(BUFFER_BYTES_MIN),
            compression: Compression::Lz4,
            batch_bytes: 256 << 10,
            linger: Duration::from_millis(5),
            backoff: Duration::from_millis(2),
            backoff_max: Duration::from_millis(50),
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

    fn set(&mut self, name: &str, value: &str) -> Result<(), UnsupportedProperty> {
        match name {
            "batch.size" => self.batch_bytes = bytes(name, value)?,
            "linger.ms" | "queue.buffering.max.ms" => self.linger = millis(name, value)?,
            "retry.backoff.ms" => self.backoff = millis(name, value)?,
            "retry.backoff.max.ms" => self.backoff_max = millis(name, value)?,
            "compression.type" | "compression.codec" => {
                self.compression = match value {
                    "none" => Compression::None,
                    "lz4" => Compression::Lz4,
                    _ => return Err(UnsupportedProperty::of_value(name, value)),
                }
            }
            _ => return Err(UnsupportedProperty::of_name(name)),
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn plain(bootstrap_servers: &str) -> Self {
        let none = std::collections::BTreeMap::new();
        let properties = Properties { common: &none, own: &none, oauth: None };
        let timeout = Duration::from_secs(1);
        Self::new(bootstrap_servers, properties, "t", timeout, 1 << 20).expect("known")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Credentials, Password};
    use super::*;

    fn with(set: &[(&str, &str)]) -> Result<ProducerSettings, UnsupportedProperty> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let common: BTreeMap<_, _> = set.iter().map(owned).collect();
        let properties = Properties { common: &common, own: &BTreeMap::new(), oauth: None };
        let timeout = Duration::from_secs(10);
        ProducerSettings::new("a:1,b:2", properties, "t", timeout, 8 << 20)
    }

    #[test]
    fn what_is_set_is_taken() {
        let set = [("linger.ms", "0.5"), ("compression.type", "none"), ("batch.size", "1000")];
        let settings = with(&set).expect("known");
        assert_eq!(settings.linger, Duration::from_micros(500));
        assert_eq!((settings.compression, settings.batch_bytes), (Compression::None, 1_000));
        assert_eq!(settings.connection.bootstrap_servers, ["a:1", "b:2"]);
        assert!(settings.connection.credentials.is_none());
        let plain = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "ann"),
        ];
        let connection = with(&plain).expect("known").connection;
        let username = "ann".to_owned();
        let password = Password { username, password: String::new() };
        assert_eq!(connection.credentials, Some(Credentials::Plain(password)));
    }

    #[test]
    fn what_is_not_known_is_left_to_librdkafka_and_named() {
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("security.protocol", "sasl_plaintext"),
            ("compression.type", "zstd"),
            ("linger.ms", "soon"),
            ("linger.ms", "1e9"),
            ("message.max.bytes", "1000"),
        ] {
            let why = with(&[(name, value)]).expect_err("refused");
            assert!(why.to_string().ends_with("librdkafka's alone"), "{why}");
        }
    }
}
