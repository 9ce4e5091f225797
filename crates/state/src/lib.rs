//! Where tables are kept: state directories, stores in memory and in RocksDB.

mod directory;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;

pub use directory::{StateDir, StateDirError};
pub use memory::{MemoryStore, MemoryStores};
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksOptions, RocksStores};
