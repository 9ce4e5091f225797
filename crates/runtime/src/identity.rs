//! Who this instance is, and where it keeps things.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use state::{MemoryStores, StateDir};
use streams_core::StoreProvider;

use crate::config::{Config, ConfigError, Tables};
use crate::error::AppError;
use crate::instance::Identity;

/// The state directory, if there is one, locked as long as this lives.
pub(crate) struct Home {
    directory: Option<StateDir>,
    identity: Identity,
}

/// Opens and locks the state directory and finds out the instance's identity.
pub(crate) fn open(config: &Config, application_id: &str) -> Result<Home, AppError> {
    let open = |path| StateDir::open(path, application_id);
    let directory = config.state_dir.as_deref().map(open).transpose();
    let directory = directory.map_err(|error| AppError::StateDirectory(error.to_string()))?;
    let kept = directory.as_ref().map(|directory| Arc::from(directory.instance_id()));
    let identity = match config.instance_id.clone().or(kept) {
        Some(instance_id) => Identity { instance_id, is_kept: true },
        None => Identity { instance_id: random_id(), is_kept: false },
    };
    Ok(Home { directory, identity })
}

impl Home {
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// The stores that the configuration asks for.
    pub(crate) fn stores(&self, config: &Config) -> Result<Arc<dyn StoreProvider>, AppError> {
        match (config.tables(), &self.directory) {
            (Tables::Memory, _) => Ok(Arc::new(MemoryStores::new())),
            (Tables::Rocksdb, Some(directory)) => rocksdb(directory, config),
            (Tables::Rocksdb, None) => {
                Err(ConfigError::new("tables = \"rocksdb\" needs a state_dir").into())
            }
        }
    }
}

#[cfg(feature = "rocksdb")]
fn rocksdb(directory: &StateDir, config: &Config) -> Result<Arc<dyn StoreProvider>, AppError> {
    let options = state::RocksOptions { memory_max: config.store_bytes(), ..Default::default() };
    Ok(Arc::new(state::RocksStores::open(directory.tasks_dir(), options)?))
}

#[cfg(not(feature = "rocksdb"))]
fn rocksdb(_: &StateDir, _: &Config) -> Result<Arc<dyn StoreProvider>, AppError> {
    Err(ConfigError::new("tables = \"rocksdb\" needs the feature \"rocksdb\"").into())
}

/// Differs from start to start and from machine to machine: the standard library seeds its hashers
/// at random.
fn random_id() -> Arc<str> {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half()).into()
}
