//! The tables of a task: committed state, uncommitted state in front of it, and the bytes of both.

pub(crate) mod changelog;
pub(crate) mod layer;
pub(crate) mod overlay;
pub(crate) mod read_back;
pub(crate) mod row_bytes;
pub(crate) mod row_codec;
pub(crate) mod tables;
pub(crate) mod unreleased;
pub(crate) mod value_cache;
