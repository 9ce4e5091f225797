//! Where tables are kept: state directories, stores in memory and in RocksDB.

mod directory;
mod memory;

pub use directory::{StateDir, StateDirError};
pub use memory::{MemoryStore, MemoryStores};
