//! The properties of one client, and those that this client does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use super::OauthTokenProvider;

/// The properties of one client: those of all clients, and its own, which come first.
#[derive(Clone, Copy)]
pub struct Properties<'a> {
    /// What is set for all clients.
    pub common: &'a BTreeMap<String, String>,
    /// What is set for clients of this kind.
    pub own: &'a BTreeMap<String, String>,
    /// What provides tokens for SASL OAUTHBEARER.
    pub oauth: Option<&'a OauthTokenProvider>,
}

/// A property that this client does not know, or not with this value. Its text names the property,
/// and no value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnsupportedProperty(String);

/// Properties that only concern librdkafka's own diagnosis.
const DIAGNOSIS: &[&str] = &["debug", "log_level", "statistics.interval.ms"];

/// The greatest duration, as with librdkafka.
const MILLIS_MAX: f64 = 900_000.0;

impl<'a> Properties<'a> {
    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.own.get(name).or(self.common.get(name)).map(String::as_str)
    }

    /// Properties that are not of the connection, which [`ConnectionSettings`] reads, nor without a
    /// meaning for this client. A later one of the same name counts.
    ///
    /// [`ConnectionSettings`]: super::ConnectionSettings
    pub(super) fn of_the_client(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.all().filter(|(name, _)| !is_of_connection(name) && !DIAGNOSIS.contains(name))
    }

    /// The properties of TLS.
    pub(super) fn of_tls(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let own = self.own;
        let of_tls = self.all().filter(|(name, _)| is_of_tls(name));
        // Each once, with the value that counts.
        of_tls.filter(move |(name, value)| own.get(*name).is_none_or(|of_own| of_own == value))
    }

    fn all(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let all = self.common.iter().chain(self.own);
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn is_of_connection(name: &str) -> bool {
    let is_of_sasl = name.starts_with("sasl.") || name == "enable.sasl.oauthbearer.unsecure.jwt";
    name == "client.id" || name == "security.protocol" || is_of_sasl || is_of_tls(name)
}

fn is_of_tls(name: &str) -> bool {
    name.starts_with("ssl.") || name == "enable.ssl.certificate.verification"
}

impl UnsupportedProperty {
    /// A property that our client does not know. Its value is not shown: it could be a secret.
    pub(super) fn of_name(name: &str) -> Self {
        Self(format!("{name} is librdkafka's alone"))
    }

    /// A value that our client does not know, of a property that it does know.
    pub(super) fn of_value(name: &str, value: &str) -> Self {
        Self(format!("{name}={value} is librdkafka's alone"))
    }
}

pub(super) fn millis(name: &str, value: &str) -> Result<Duration, UnsupportedProperty> {
    let millis = value.parse::<f64>().ok();
    let millis = millis.filter(|millis| (0.0..=MILLIS_MAX).contains(millis));
    let seconds = millis.ok_or_else(|| UnsupportedProperty::of_value(name, value))? / 1_000.0;
    Ok(Duration::from_secs_f64(seconds))
}

pub(super) fn bytes(name: &str, value: &str) -> Result<usize, UnsupportedProperty> {
    value.parse().map_err(|_| UnsupportedProperty::of_value(name, value))
}
