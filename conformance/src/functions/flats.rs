//! Functions that give any number of records.

use serde::Deserialize;
use serde_json::{Value, json};

use super::keys::text;
use super::{integer, subject};
use crate::key::{Key, Val, val};

/// A function from a record to records.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "fn", rename_all = "snake_case", deny_unknown_fields)]
pub enum Flat {
    /// The elements of the array.
    Split {
        /// Which.
        field: Option<String>,
    },
    /// The elements of the array, each with a key of its own.
    SplitKeyed {
        /// Which array.
        field: Option<String>,
        /// The member of each element that is its key.
        key_field: String,
    },
    /// 0, 1, … up to the integer, at most five.
    Repeat {
        /// Which.
        field: Option<String>,
    },
}

impl Flat {
    /// Applies it.
    pub fn apply(&self, key: &Key, value: &Val) -> Vec<(Key, Val)> {
        match self {
            Self::Split { field } => {
                let elements = elements(&subject(value, field.as_deref()));
                elements.into_iter().map(|element| (key.clone(), element)).collect()
            }
            Self::SplitKeyed { field, key_field } => {
                let keyed = |element: Val| {
                    let key = text(&subject(&element, Some(key_field)));
                    (key.map_or(Key::Null, Key::Plain), element)
                };
                elements(&subject(value, field.as_deref())).into_iter().map(keyed).collect()
            }
            Self::Repeat { field } => {
                let count = integer(&subject(value, field.as_deref())).unwrap_or(0).min(5);
                (0..count).map(|n| (key.clone(), Some(json!(n)))).collect()
            }
        }
    }
}

fn elements(value: &Val) -> Vec<Val> {
    let array = value.as_ref().and_then(Value::as_array);
    array.into_iter().flatten().cloned().map(|element| val(Some(element))).collect()
}
