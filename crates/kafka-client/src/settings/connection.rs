//! How a cluster is reached, for all clients.

use std::collections::BTreeMap;
use std::fmt;

use super::{Properties, UnsupportedProperty};

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Each `host:port`.
    pub(crate) bootstrap_servers: Vec<String>,
    pub(crate) client_id: String,
    pub(crate) credentials: Option<Credentials>,
}

/// User name and password, for SASL PLAIN.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(not shown)")
    }
}

impl ConnectionSettings {
    /// The brokers as `host:port[,host:port]`, and what the user set.
    ///
    /// # Errors
    /// A protocol or mechanism that this client does not know.
    pub fn new(
        bootstrap_servers: &str,
        properties: Properties<'_>,
    ) -> Result<Self, UnsupportedProperty> {
        let unsupported =
            |what: String| Err(UnsupportedProperty(format!("{what} is librdkafka's alone")));
        let protocol = properties.get("security.protocol").unwrap_or("plaintext");
        let credentials = match &*protocol.to_uppercase() {
            "PLAINTEXT" => None,
            "SASL_PLAINTEXT" => {
                let mechanism = match mechanism(properties.own)? {
                    Some(mechanism) => mechanism,
                    None => mechanism(properties.common)?.unwrap_or("GSSAPI"),
                };
                if mechanism != "PLAIN" {
                    return unsupported(format!("sasl.mechanism {mechanism}"));
                }
                let text = |name| properties.get(name).unwrap_or_default().to_owned();
                let username = text("sasl.username");
                Some(Credentials { username, password: text("sasl.password") })
            }
            other => return unsupported(format!("security.protocol {other}")),
        };
        let bootstrap_servers = bootstrap_servers.split(',').map(str::to_owned).collect();
        let client_id = properties.get("client.id").unwrap_or("headwater").to_owned();
        Ok(Self { bootstrap_servers, client_id, credentials })
    }

    #[cfg(test)]
    pub(crate) fn plain(bootstrap_servers: &str) -> Self {
        let none = BTreeMap::new();
        let properties = Properties { common: &none, own: &none };
        Self::new(bootstrap_servers, properties).expect("known")
    }
}

/// One property has two names. What is meant if they differ is for librdkafka to say: a password
/// must not go out in the clear where a mechanism was meant that keeps it.
fn mechanism(properties: &BTreeMap<String, String>) -> Result<Option<&str>, UnsupportedProperty> {
    let get = |name: &str| properties.get(name).map(String::as_str);
    match (get("sasl.mechanism"), get("sasl.mechanisms")) {
        (Some(one), Some(other)) if one != other => Err(UnsupportedProperty(format!(
            "sasl.mechanism {one} and sasl.mechanisms {other} are librdkafka's alone"
        ))),
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
            let mut common = properties(common);
            let own = properties(own);
            common.insert("security.protocol".to_owned(), "SASL_PLAINTEXT".to_owned());
            let set = Properties { common: &common, own: &own };
            let settings = ConnectionSettings::new("a:1", set);
            assert_eq!(settings.is_ok(), is_plain, "{common:?} {own:?}");
            if let Err(why) = settings {
                assert!(why.to_string().ends_with("librdkafka's alone"), "{why}");
            }
        }
    }
}
