//! Who this instance is, and where it keeps things.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use state::{MemoryStores, StateDir};
use streams_core::StoreProvider;

use crate::config::{Config, ConfigError, TableStorage};
use crate::error::AppError;
use crate::instance::InstanceIdentity;

/// The state directory, if there is one, locked as long as this lives.
pub(crate) struct LocalState {
    directory: Option<StateDir>,
    identity: InstanceIdentity,
}

/// Opens and locks the state directory and finds out the instance's identity.
pub(crate) fn open(config: &Config, application_id: &str) -> Result<LocalState, AppError> {
    let open = |path| StateDir::open(path, application_id);
    let directory = config.state_dir.as_deref().map(open).transpose();
    let directory = directory.map_err(|error| AppError::StateDirectory(error.to_string()))?;
    let kept = directory.as_ref().map(|directory| Arc::from(directory.instance_id()));
    let identity = match config.instance_id.clone().or(kept) {
        Some(instance_id) => InstanceIdentity { instance_id, is_kept: true },
        None => InstanceIdentity { instance_id: random_id(), is_kept: false },
    };
    Ok(LocalState { directory, identity })
}

impl LocalState {
    pub(crate) fn identity(&self) -> InstanceIdentity {
        self.identity.clone()
    }

    /// The stores that the configuration asks for.
    pub(crate) fn stores(&self, config: &Config) -> Result<Arc<dyn StoreProvider>, AppError> {
        match (config.tables(), &self.directory) {
            (TableStorage::Memory, _) => Ok(Arc::new(MemoryStores::new())),
            (TableStorage::Rocksdb, Some(directory)) => rocksdb(directory, config),
            (TableStorage::Rocksdb, None) => {
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
