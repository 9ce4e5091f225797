//! Where tables are kept: state directories, stores in memory and in RocksDB.

mod memory;

pub use memory::{MemoryStore, MemoryStores};
