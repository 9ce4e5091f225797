//! What TLS is set up with: certificates and keys, read again when their files have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{RequestError, Result};
use crate::settings::{PemSource, TlsSettings};

/// The configuration for new connections. Connections that are open keep theirs.
#[derive(Default)]
pub(crate) struct TlsConfigs(Mutex<Option<LoadedConfig>>);

struct LoadedConfig {
    files: Vec<FileState>,
    config: Arc<ClientConfig>,
}

/// What shows that a file has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileState {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
}

impl TlsConfigs {
    /// The configuration by the files as they are now.
    pub(crate) fn current(&self, settings: &TlsSettings) -> Result<Arc<ClientConfig>> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let files = file_states(settings);
        if let Some(loaded) = &*loaded
            && loaded.files == files
        {
            return Ok(Arc::clone(&loaded.config));
        }
        match (load(settings), &*loaded) {
            (Ok(config), _) => {
                let config = Arc::new(config);
                *loaded = Some(LoadedConfig { files, config: Arc::clone(&config) });
                Ok(config)
            }
            // The files are being replaced, perhaps one after the other.
            (Err(error), Some(former)) => {
                tracing::warn!(
                    target: "headwater::kafka", %error,
                    "certificates have changed and cannot be used; the former ones stay"
                );
                Ok(Arc::clone(&former.config))
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn file_states(settings: &TlsSettings) -> Vec<FileState> {
    let identity = settings.identity.iter();
    let identity = identity.flat_map(|identity| [&identity.certificate, &identity.key]);
    let state = |source: &PemSource| {
        let PemSource::File(path) = source else { return None };
        let metadata = std::fs::metadata(path).ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let length = metadata.map_or(0, |metadata| metadata.len());
        Some(FileState { path: path.clone(), modified, length })
    };
    settings.trusted.iter().chain(identity).filter_map(state).collect()
}

fn load(settings: &TlsSettings) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| RequestError::security("TLS", &error.to_string());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(trusted(settings)?);
    let Some(identity) = &settings.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&identity.certificate, "ssl.certificate")?;
    let key = read(&identity.key, "ssl.key")?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| bad(&identity.key, "ssl.key", "has no private key in PEM"))?;
    builder.with_client_auth_cert(chain, key).map_err(failed)
}

fn trusted(settings: &TlsSettings) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    if settings.trusted.is_empty() {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = "the system has no trusted certificates: set ssl.ca.location";
            return Err(RequestError::security("TLS", why));
        }
        return Ok(store);
    }
    for source in &settings.trusted {
        for certificate in certificates(source, "ssl.ca")? {
            store.add(certificate).map_err(|error| bad(source, "ssl.ca", &error.to_string()))?;
        }
    }
    Ok(store)
}

fn certificates(source: &PemSource, name: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(source, name)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| bad(source, name, "is not PEM"))?;
    if found.is_empty() { Err(bad(source, name, "has no certificate in PEM")) } else { Ok(found) }
}

fn read(source: &PemSource, name: &str) -> Result<Vec<u8>> {
    match source {
        PemSource::Text(text) => Ok(text.clone().into_bytes()),
        PemSource::File(path) => {
            std::fs::read(path).map_err(|error| bad(source, name, &error.to_string()))
        }
    }
}

/// Names the property, and the file if it is one.
fn bad(source: &PemSource, name: &str, why: &str) -> RequestError {
    let what = match source {
        PemSource::Text(_) => format!("{name}.pem"),
        PemSource::File(path) => format!("{name}.location {}", path.display()),
    };
    RequestError::security(&what, why)
}
