//! Commit, rewind and restore against a log whose answers each test scripts: what is asked of it,
//! and in which order.
#![allow(clippy::unwrap_used)]

mod commits_in_order;
mod restores_what_was_committed;
mod rewinds_to_the_last_commit;
mod script;
mod stores;
mod transport;
mod world;
