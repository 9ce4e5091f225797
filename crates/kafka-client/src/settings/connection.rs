//! How a cluster is reached, for all clients.

use std::collections::BTreeMap;

use super::credentials::{Credentials, Password};
use super::tls::TlsSettings;
use super::{Properties, UnsupportedProperty};
use crate::connection::ScramHash;

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Each `host:port`.
    pub(crate) bootstrap_servers: Vec<String>,
    pub(crate) client_id: String,
    /// `None` for a plain connection.
    pub(crate) tls: Option<TlsSettings>,
    /// `None` without SASL.
    pub(crate) credentials: Option<Credentials>,
}

impl ConnectionSettings {
    /// The brokers as `host:port[,host:port]`, and what the user set.
    ///
    /// # Errors
    /// A protocol, mechanism or way of TLS that this client does not know.
    pub fn new(
        bootstrap_servers: &str,
        properties: Properties<'_>,
    ) -> Result<Self, UnsupportedProperty> {
        let protocol = properties.get("security.protocol").unwrap_or("plaintext").to_uppercase();
        let has_tls = matches!(&*protocol, "SSL" | "SASL_SSL");
        let has_sasl = matches!(&*protocol, "SASL_PLAINTEXT" | "SASL_SSL");
        if !has_tls && !has_sasl && protocol != "PLAINTEXT" {
            return Err(UnsupportedProperty::of_name(&format!("security.protocol {protocol}")));
        }
        let bootstrap_servers = bootstrap_servers.split(',').map(str::to_owned).collect();
        let client_id = properties.get("client.id").unwrap_or("headwater").to_owned();
        Ok(Self {
            bootstrap_servers,
            client_id,
            tls: if has_tls { Some(TlsSettings::new(properties)?) } else { None },
            credentials: if has_sasl { Some(credentials(properties)?) } else { None },
        })
    }

    #[cfg(test)]
    pub(crate) fn plain(bootstrap_servers: &str) -> Self {
        let none = BTreeMap::new();
        let properties = Properties { common: &none, own: &none, oauth: None };
        Self::new(bootstrap_servers, properties).expect("known")
    }
}

fn credentials(properties: Properties<'_>) -> Result<Credentials, UnsupportedProperty> {
    let mechanism = match mechanism(properties.own)? {
        Some(mechanism) => mechanism,
        None => mechanism(properties.common)?.unwrap_or("GSSAPI"),
    };
    let unsupported = || Err(UnsupportedProperty::of_name(&format!("sasl.mechanism {mechanism}")));
    let password = || {
        let text = |name| properties.get(name).unwrap_or_default().to_owned();
        Password { username: text("sasl.username"), password: text("sasl.password") }
    };
    Ok(match mechanism {
        "PLAIN" => Credentials::Plain(password()),
        "SCRAM-SHA-256" => Credentials::Scram(ScramHash::Sha256, password()),
        "SCRAM-SHA-512" => Credentials::Scram(ScramHash::Sha512, password()),
        "OAUTHBEARER" => match properties.oauth {
            Some(provider) => Credentials::OauthBearer(provider.clone()),
            None => return unsupported(),
        },
        _ => return unsupported(),
    })
}

/// One property has two names. What is meant if they differ is for librdkafka to say: a password
/// must not go out in the clear where a mechanism was meant that keeps it.
fn mechanism(properties: &BTreeMap<String, String>) -> Result<Option<&str>, UnsupportedProperty> {
    let get = |name: &str| properties.get(name).map(String::as_str);
    match (get("sasl.mechanism"), get("sasl.mechanisms")) {
        (Some(one), Some(other)) if one != other => {
            let both = format!("sasl.mechanism {one} beside sasl.mechanisms {other}");
            Err(UnsupportedProperty::of_name(&both))
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

    fn settings(
        common: &[(&str, &str)],
        own: &[(&str, &str)],
    ) -> Result<ConnectionSettings, UnsupportedProperty> {
        let common = properties(common);
        let own = properties(own);
        let set = Properties { common: &common, own: &own, oauth: None };
        ConnectionSettings::new("a:1", set)
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
            let common = [common, &[("security.protocol", "SASL_PLAINTEXT")]].concat();
            let set = settings(&common, own);
            let is = set
                .as_ref()
                .is_ok_and(|set| matches!(set.credentials, Some(Credentials::Plain(_))));
            assert_eq!(is, is_plain, "{common:?} {own:?}");
            if let Err(why) = set {
                assert!(why.to_string().ends_with("librdkafka's alone"), "{why}");
            }
        }
    }

    #[test]
    fn what_only_librdkafka_can_do_is_named() {
        let tls = ("security.protocol", "ssl");
        for (name, value) in [
            ("ssl.keystore.location", "a.p12"),
            ("ssl.key.password", "hunter2"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("enable.ssl.certificate.verification", "false"),
            ("ssl.cipher.suites", "x"),
            ("ssl.certificate.pem", "a certificate, hunter2, without its key"),
        ] {
            let why = settings(&[tls, (name, value)], &[]).expect_err(name).to_string();
            assert!(why.ends_with("librdkafka's alone"), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
        let identity = [tls, ("ssl.certificate.pem", "c"), ("ssl.key.pem", encrypted)];
        assert!(settings(&identity, &[]).is_err());
        let usual = [
            tls,
            ("ssl.endpoint.identification.algorithm", "https"),
            ("enable.ssl.certificate.verification", "true"),
            ("ssl.ca.location", "/a/file"),
        ];
        assert!(settings(&usual, &[]).is_ok());
        // Without TLS they mean nothing.
        assert!(settings(&[("ssl.key.password", "hunter2")], &[]).is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let set = settings(
            &[
                ("security.protocol", "sasl_ssl"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.username", "ann"),
                ("sasl.password", "hunter2"),
                ("ssl.certificate.pem", "hunter2"),
                ("ssl.key.pem", "hunter2"),
                ("ssl.ca.pem", "hunter2"),
            ],
            &[],
        );
        let shown = format!("{:?}", set.expect("known"));
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
    }
}
