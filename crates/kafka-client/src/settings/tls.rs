//! How TLS is set up: which certificates are trusted, and who this client is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Properties, UnsupportedProperty};

/// How TLS is set up.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// The trusted certificates; those of the system if there are none.
    pub(crate) trusted: Vec<PemSource>,
    /// Who this client is, if brokers ask for that.
    pub(crate) identity: Option<TlsIdentity>,
}

/// A certificate with its chain, and its private key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TlsIdentity {
    pub(crate) certificate: PemSource,
    pub(crate) key: PemSource,
}

/// Where PEM comes from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PemSource {
    /// A file. It is read again when it has changed.
    File(PathBuf),
    /// The PEM itself, which may be a secret.
    Text(String),
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("trusted", &self.trusted)
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str("PEM(not shown)"),
        }
    }
}

/// What our client always does, or what has no meaning for it.
const AS_IT_IS: [(&str, &str); 2] = [
    ("ssl.endpoint.identification.algorithm", "https"),
    ("enable.ssl.certificate.verification", "true"),
];

/// What marks a private key that a password protects.
const ENCRYPTED: [&str; 2] = ["ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

impl TlsSettings {
    /// What the user set.
    ///
    /// # Errors
    /// The first property that our client does not know, or not with this value.
    pub(super) fn new(properties: Properties<'_>) -> Result<Self, UnsupportedProperty> {
        let mut certificate = None;
        let mut key = None;
        let mut settings = Self::default();
        for (name, value) in properties.of_tls() {
            match name {
                "ssl.ca.location" if Path::new(value).is_dir() => {
                    return Err(UnsupportedProperty::of_name("ssl.ca.location, a directory,"));
                }
                "ssl.ca.location" => settings.trusted.push(PemSource::File(value.into())),
                "ssl.ca.pem" => settings.trusted.push(PemSource::Text(value.to_owned())),
                "ssl.certificate.location" => certificate = Some(PemSource::File(value.into())),
                "ssl.certificate.pem" => certificate = Some(PemSource::Text(value.to_owned())),
                "ssl.key.location" => key = Some(PemSource::File(value.into())),
                "ssl.key.pem" => key = Some(PemSource::Text(value.to_owned())),
                _ if AS_IT_IS.contains(&(name, value)) => {}
                _ => return Err(UnsupportedProperty::of_name(name)),
            }
        }
        settings.identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) if !key.is_encrypted() => {
                Some(TlsIdentity { certificate, key })
            }
            (Some(_), Some(_)) => {
                return Err(UnsupportedProperty::of_name("a private key with a password"));
            }
            // librdkafka says what it thinks of that.
            _ => return Err(UnsupportedProperty::of_name("a certificate without its key")),
        };
        Ok(settings)
    }
}

impl PemSource {
    fn is_encrypted(&self) -> bool {
        let is_marked = |text: &str| ENCRYPTED.iter().any(|mark| text.contains(mark));
        match self {
            Self::Text(text) => is_marked(text),
            // A file that cannot be read is an error when a connection is opened.
            Self::File(path) => std::fs::read_to_string(path).is_ok_and(|text| is_marked(&text)),
        }
    }
}
