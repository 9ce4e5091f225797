//! Logs, damage to them, and what readers see afterwards.

pub(crate) mod contents;
pub(crate) mod images;
pub(crate) mod workload;

#[path = "../support/mod.rs"]
mod support;

pub(crate) use support::Chance;
