//! Functions that make one value of two.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::key::{Val, val};

/// A function from two values, each maybe missing, to one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "fn", rename_all = "snake_case")]
pub enum Joiner {
    /// Both, in an array.
    Pair,
    /// The left one.
    Left,
    /// The right one.
    Right,
    /// The members of both; the right one's win.
    Merge,
}

impl Joiner {
    /// Applies it.
    pub fn apply(self, left: Option<&Val>, right: Option<&Val>) -> Val {
        let left = left.cloned().flatten();
        let right = right.cloned().flatten();
        match self {
            Self::Pair => Some(json!([left, right])),
            Self::Left => left,
            Self::Right => right,
            Self::Merge => val(Some(merge(left, right))),
        }
    }
}

fn merge(left: Val, right: Val) -> Value {
    let members = |value: Val| match value {
        Some(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let mut merged = members(left);
    merged.extend(members(right));
    Value::Object(merged)
}
