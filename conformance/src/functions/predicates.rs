//! Functions that say yes or no.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::Value;

use super::subject;
use crate::key::{Key, Val};

/// A function from a record to yes or no.
#[derive(Clone, Debug, Deserialize)]
pub struct Predicate {
    #[serde(rename = "fn")]
    name: Test,
    field: Option<String>,
    #[serde(default)]
    value: Value,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Test {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    IsNull,
    KeyEq,
}

impl Predicate {
    /// Applies it.
    pub fn apply(&self, key: &Key, value: &Val) -> bool {
        let x = subject(value, self.field.as_deref());
        match self.name {
            Test::IsNull => x.is_none(),
            Test::KeyEq => key.to_json() == self.value,
            test => compare(&x, &self.value).is_some_and(|order| test.holds(order)),
        }
    }
}

impl Test {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
            Self::IsNull | Self::KeyEq => false,
        }
    }
}

/// Two integers, or two strings by their bytes; nothing else can be compared.
fn compare(x: &Val, y: &Value) -> Option<Ordering> {
    match (x.as_ref()?, y) {
        (Value::String(x), Value::String(y)) => Some(x.as_bytes().cmp(y.as_bytes())),
        (x, y) => Some(x.as_i64()?.cmp(&y.as_i64()?)),
    }
}
