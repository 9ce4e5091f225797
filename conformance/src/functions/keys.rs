//! Functions that give keys.

use serde::Deserialize;
use serde_json::Value;

use super::subject;
use crate::key::{Key, Val};

/// A function from a record to a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "fn", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyFunction {
    /// The record's.
    Key,
    /// Always the same.
    Const {
        /// Which.
        value: Value,
    },
    /// The field, as text.
    Field {
        /// Which.
        field: Option<String>,
    },
    /// `key|field`.
    KeyField {
        /// Which.
        field: Option<String>,
    },
    /// `key@start` of a windowed key.
    WindowStart,
    /// The key of a windowed key.
    WindowKey,
}

impl KeyFunction {
    /// Applies it.
    pub fn apply(&self, key: &Key, value: &Val) -> Key {
        let plain = |text: Option<String>| text.map_or(Key::Null, Key::Plain);
        match self {
            Self::Key => key.clone(),
            Self::Const { value } => Key::from_json(value).unwrap_or(Key::Null),
            Self::Field { field } => plain(text(&subject(value, field.as_deref()))),
            Self::KeyField { field } => {
                let field = text(&subject(value, field.as_deref()));
                plain(key.text().zip(field).map(|(key, field)| format!("{key}|{field}")))
            }
            Self::WindowStart => plain(match key {
                Key::Windowed(windowed) => Some(format!("{}@{}", windowed.key, windowed.start)),
                _ => None,
            }),
            Self::WindowKey => plain(key.text().map(str::to_owned)),
        }
    }
}

/// A string as it is, an integer in decimal, anything else null.
pub(super) fn text(value: &Val) -> Option<String> {
    match value {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => number.as_i64().map(|number| number.to_string()),
        _ => None,
    }
}
