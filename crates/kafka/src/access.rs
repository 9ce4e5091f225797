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
                let mechanism = match mechanism(own)? {
                    Some(mechanism) => mechanism,
                    None => mechanism(kafka.common())?.unwrap_or("GSSAPI"),
                };
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

/// Two names of one property. What is meant if both are set is for librdkafka to say: a password
/// must not go out in the clear where a mechanism was meant that keeps it.
fn mechanism(properties: &BTreeMap<String, String>) -> Result<Option<&str>, String> {
    let get = |name: &str| properties.get(name).map(String::as_str);
    match (get("sasl.mechanism"), get("sasl.mechanisms")) {
        (Some(one), Some(other)) if one != other => {
            Err(format!("sasl.mechanism {one} and sasl.mechanisms {other} are librdkafka's alone"))
        }
        (one, other) => Ok(one.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_password_goes_out_only_if_plain_is_meant() {
        const ONE: &str = "sasl.mechanism";
        const OTHER: &str = "sasl.mechanisms";
        let none: &[_] = &[];
        for (common, own, is_plain) in [
            (&[(ONE, "PLAIN")][..], none, true),
            (none, &[(OTHER, "PLAIN")][..], true),
            (&[(ONE, "SCRAM-SHA-256")], &[(OTHER, "PLAIN")], true),
            (&[(ONE, "PLAIN")], &[(OTHER, "SCRAM-SHA-256")], false),
            (&[(OTHER, "PLAIN")], &[(ONE, "SCRAM-SHA-256")], false),
            (&[(ONE, "PLAIN"), (OTHER, "SCRAM-SHA-256")], none, false),
            (&[(ONE, "PLAIN"), (OTHER, "PLAIN")], none, true),
            (none, none, false),
        ] {
            let (mut common, own, none) = (properties(common), properties(own), BTreeMap::new());
            common.insert("security.protocol".to_owned(), "SASL_PLAINTEXT".to_owned());
            let kafka = KafkaConfig::new("a:1").expect("brokers");
            let kafka = kafka.with_properties(&common, &own, &none, &none).expect("allowed");
            let access = Access::new(&kafka, &own);
            assert_eq!(access.is_ok(), is_plain, "{common:?} {own:?}");
            if let Err(why) = access {
                assert!(why.ends_with("librdkafka's alone"), "{why}");
            }
        }
    }
}
