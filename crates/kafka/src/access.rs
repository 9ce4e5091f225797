//! Where the cluster is, and how one is admitted, for the client of our own.

use std::collections::BTreeMap;

use crate::config::KafkaConfig;
use crate::wire::Login;

/// Where the cluster is, and how one is admitted.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// Each `host:port`.
    pub(crate) bootstrap: Vec<String>,
    pub(crate) client: String,
    pub(crate) login: Option<Login>,
}

/// Properties that only concern librdkafka's own diagnosis.
pub(crate) const WITHOUT_MEANING: &[&str] = &["debug", "log_level", "statistics.interval.ms"];

/// As long as any time may be, as with librdkafka.
pub(crate) const MILLIS_MAX: f64 = 900_000.0;

impl Access {
    /// What the user set for all clients, and for clients of one kind.
    ///
    /// # Errors
    /// A protocol or mechanism that our client does not know.
    pub(crate) fn new(kafka: &KafkaConfig, own: &BTreeMap<String, String>) -> Result<Self, String> {
        let get = |name: &str| own.get(name).or(kafka.common().get(name)).map(String::as_str);
        let login = match &*get("security.protocol").unwrap_or("plaintext").to_uppercase() {
            "PLAINTEXT" => None,
            "SASL_PLAINTEXT" => {
                let mechanism =
                    get("sasl.mechanism").or(get("sasl.mechanisms")).unwrap_or("GSSAPI");
                if mechanism != "PLAIN" {
                    return Err(format!("sasl.mechanism {mechanism} is librdkafka's alone"));
                }
                let text = |name| get(name).unwrap_or_default().to_owned();
                Some(Login { name: text("sasl.username"), password: text("sasl.password") })
            }
            other => return Err(format!("security.protocol {other} is librdkafka's alone")),
        };
        let bootstrap = kafka.brokers().split(',').map(str::to_owned).collect();
        let client = get("client.id").unwrap_or("headwater").to_owned();
        Ok(Self { bootstrap, client, login })
    }
}
