//! Operators that look at one record at a time. Each has a file with its methods of
//! [`Stream`](super::Stream), the wrappers around the user's function, and the operator.
//!
//! The `try_` methods take functions that may fail. The source's error policy decides about such an
//! error, as it does about an undecodable record.
//!
//! The wrappers are free functions because a closure's type contains the type parameters of the
//! function around it. A closure made inside a method of `Stream` would contain the chain so far,
//! and the new chain contains that beside it. A chain of n operators would become a type of 2^n
//! parts, and so would its symbol names.

mod branch;
mod filter;
mod flat_map;
mod flat_map_values;
mod map;
mod map_values;
mod merge;
mod peek;
mod shared;

use std::sync::Arc;

use crate::error::{BoxError, Cause, Failure};

pub(super) use map_values::MapValues;

/// Turns what a user's function returned into a result of its operator.
fn tried<T, E: Into<BoxError>>(operator: &'static str, result: Result<T, E>) -> Result<T, Failure> {
    result
        .map_err(|error| Cause::User { operator: Arc::from(operator), source: error.into() }.into())
}
