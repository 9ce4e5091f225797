//! What an instance keeps on its machine: its identity and its stores.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use state::{MemoryStores, StateDir};
use streams_core::StoreProvider;

use crate::config::{Config, ConfigError, TableStorage};
use crate::error::AppError;

/// Names an instance among those of its application.
#[derive(Clone, Debug)]
pub(crate) struct InstanceIdentity {
    pub(crate) instance_id: Arc<str>,
    /// Whether the next start of this instance has the same id. Only then may it be a static
    /// member: the group would wait in vain for one that never comes back.
    pub(crate) is_kept: bool,
}

/// The instance's identity and its state directory, if it has one. The directory is locked as long
/// as this exists.
pub(crate) struct LocalState {
    directory: Option<StateDir>,
    identity: InstanceIdentity,
}

impl LocalState {
    /// Opens and locks the state directory, and finds out the instance's identity.
    pub(crate) fn open(config: &Config, application_id: &str) -> Result<Self, AppError> {
        let open = |path| StateDir::open(path, application_id);
        let directory = config.state_dir.as_deref().map(open).transpose();
        let directory = directory.map_err(|error| AppError::StateDirectory(error.to_string()))?;
        let kept = directory.as_ref().map(|directory| Arc::from(directory.instance_id()));
        let identity = match config.instance_id.clone().or(kept) {
            Some(instance_id) => InstanceIdentity { instance_id, is_kept: true },
            None => InstanceIdentity { instance_id: random_id(), is_kept: false },
        };
        Ok(Self { directory, identity })
    }

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
