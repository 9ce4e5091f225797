//! The user's properties, as far as this client knows them.

use std::time::Duration;

use runtime::transport::ProducerConfig;

use crate::access::{Access, MILLIS_MAX, WITHOUT_MEANING};
use crate::config::KafkaConfig;
use crate::wire::Compression;

/// What a producer needs to know.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(super) transactional_id: String,
    pub(super) transaction_timeout: Duration,
    /// Bytes of records that may wait or be on their way, before compression.
    pub(super) buffer_bytes: usize,
    pub(super) compression: Compression,
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    pub(super) backoff: Duration,
    pub(super) backoff_max: Duration,
}

impl Settings {
    /// Takes what the user set.
    ///
    /// # Errors
    /// The first property that this client does not know, or not with this value.
    pub(crate) fn new(kafka: &KafkaConfig, config: &ProducerConfig) -> Result<Self, String> {
        let (common, own) = kafka.producer_properties();
        let mut settings = Self {
            access: Access::new(kafka, own)?,
            transactional_id: config.transactional_id.as_deref().unwrap_or_default().to_owned(),
            transaction_timeout: config.transaction_timeout,
            buffer_bytes: config.buffer_bytes_max.max(4 << 20),
            compression: Compression::Lz4,
            batch_bytes: 256 << 10,
            linger: Duration::from_millis(5),
            backoff: Duration::from_millis(2),
            backoff_max: Duration::from_millis(50),
        };
        for (name, value) in common.iter().chain(own) {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let refused = || format!("the property {name}={value} is librdkafka's alone");
        let millis = || {
            let millis = value.parse::<f64>().ok();
            let millis = millis.filter(|millis| (0.0..=MILLIS_MAX).contains(millis));
            millis.map(|millis| Duration::from_secs_f64(millis / 1_000.0)).ok_or_else(refused)
        };
        match name {
            "batch.size" => self.batch_bytes = value.parse().map_err(|_| refused())?,
            "linger.ms" | "queue.buffering.max.ms" => self.linger = millis()?,
            "retry.backoff.ms" => self.backoff = millis()?,
            "retry.backoff.max.ms" => self.backoff_max = millis()?,
            "compression.type" | "compression.codec" => {
                self.compression = match value {
                    "none" => Compression::None,
                    "lz4" => Compression::Lz4,
                    _ => return Err(refused()),
                }
            }
            // Of these `Access` knows.
            "client.id" | "security.protocol" => {}
            name if name.starts_with("sasl.") || WITHOUT_MEANING.contains(&name) => {}
            _ => return Err(refused()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn with(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let (own, none): (BTreeMap<_, _>, _) =
            (properties.iter().map(owned).collect(), BTreeMap::new());
        let kafka = KafkaConfig::new("a:1,b:2").expect("brokers");
        let kafka = kafka.with_properties(&own, &none, &none, &none).expect("allowed");
        let config = ProducerConfig {
            transactional_id: Some("t".into()),
            transaction_timeout: Duration::from_secs(10),
            buffer_bytes_max: 8 << 20,
        };
        Settings::new(&kafka, &config)
    }

    #[test]
    fn what_is_set_is_taken() {
        let set = [("linger.ms", "0.5"), ("compression.type", "none"), ("batch.size", "1000")];
        let settings = with(&set).expect("known");
        assert_eq!(settings.linger, Duration::from_micros(500));
        assert_eq!((settings.compression, settings.batch_bytes), (Compression::None, 1_000));
        assert_eq!(settings.access.bootstrap, ["a:1", "b:2"]);
        assert!(settings.access.login.is_none());
        let plain = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "ann"),
        ];
        let login = with(&plain).expect("known").access.login.expect("a login");
        assert_eq!((&*login.name, &*login.password), ("ann", ""));
    }

    #[test]
    fn what_is_not_known_is_left_to_librdkafka_and_named() {
        for (name, value) in [
            ("security.protocol", "ssl"),
            ("security.protocol", "sasl_plaintext"),
            ("compression.type", "zstd"),
            ("linger.ms", "soon"),
            ("linger.ms", "1e9"),
            ("message.max.bytes", "1000"),
        ] {
            let why = with(&[(name, value)]).err().expect("refused");
            assert!(why.ends_with("librdkafka's alone"), "{why}");
        }
    }
}
