//! Drives Headwater topologies.

pub mod transport;
