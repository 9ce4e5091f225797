//! The functions that cases name; every one is total.

mod aggregators;
mod flats;
mod joiners;
mod keys;
mod predicates;
mod values;

pub use aggregators::Aggregator;
pub use flats::Flat;
pub use joiners::Joiner;
pub use keys::KeyFunction;
pub use predicates::Predicate;
pub use values::ValueFunction;

use serde_json::Value;

use crate::key::{Val, val};

/// The argument of a function: the value's member `field`, or the whole value without one.
fn subject(value: &Val, field: Option<&str>) -> Val {
    match field {
        None => value.clone(),
        Some(field) => val(value.as_ref().and_then(|value| value.get(field)).cloned()),
    }
}

fn integer(value: &Val) -> Option<i64> {
    value.as_ref().and_then(Value::as_i64)
}
