//! Replays semantics cases through Headwater's public API and compares the results.
//!
//! The cases' format and the rules that they follow are described in `conformance/README.md`.

pub mod build;
pub mod case;
pub mod compare;
pub mod functions;
pub mod key;
pub mod plan;
pub mod replay;
pub mod report;
