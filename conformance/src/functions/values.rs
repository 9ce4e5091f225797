//! Functions that give values.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{integer, subject};
use crate::key::{Key, Val, val};

/// A function from a record to a value.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "fn", rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueFunction {
    /// The field.
    Field {
        /// Which.
        field: Option<String>,
    },
    /// The fields that are there.
    Pick {
        /// Which.
        fields: Vec<String>,
    },
    /// The integer, increased.
    Add {
        /// Where.
        field: Option<String>,
        /// By how much.
        n: i64,
    },
    /// The integer, multiplied.
    Mul {
        /// Where.
        field: Option<String>,
        /// By how much.
        n: i64,
    },
    /// The object with that field.
    Set {
        /// Which.
        field: String,
        /// With what.
        #[serde(default)]
        value: Value,
    },
    /// The object with the key in a field.
    PutKey {
        /// Which.
        field: String,
    },
    /// Always the same.
    Const {
        /// What.
        #[serde(default)]
        value: Value,
    },
}

impl ValueFunction {
    /// Applies it.
    pub fn apply(&self, key: &Key, value: Val) -> Val {
        if let Self::Const { value } = self {
            return val(Some(value.clone()));
        }
        let present = value.as_ref()?;
        match self {
            Self::Field { field } => subject(&value, field.as_deref()),
            Self::Pick { fields } => Some(pick(present, fields)),
            Self::Add { field, n } => change(value, field.as_deref(), |x| x.wrapping_add(*n)),
            Self::Mul { field, n } => change(value, field.as_deref(), |x| x.wrapping_mul(*n)),
            Self::Set { field, value: new } => {
                let mut object = value;
                if let Some(Value::Object(members)) = &mut object {
                    members.insert(field.clone(), new.clone());
                }
                object
            }
            Self::PutKey { field } => {
                let mut members = match value {
                    Some(Value::Object(members)) => members,
                    other => Map::from_iter([("value".to_owned(), json!(other))]),
                };
                members.insert(field.clone(), key.to_json());
                Some(Value::Object(members))
            }
            Self::Const { .. } => value,
        }
    }
}

fn pick(value: &Value, fields: &[String]) -> Value {
    match value {
        Value::Object(members) => {
            let found = fields.iter().filter_map(|field| Some((field, members.get(field)?)));
            found.map(|(field, value)| (field.clone(), value.clone())).collect()
        }
        other => other.clone(),
    }
}

/// Changes the integer in place; anything else stays.
fn change(mut value: Val, field: Option<&str>, change: impl Fn(i64) -> i64) -> Val {
    let Some(x) = integer(&subject(&value, field)) else { return value };
    let changed = json!(change(x));
    match (field, &mut value) {
        (Some(field), Some(Value::Object(members))) => {
            members.insert(field.to_owned(), changed);
            value
        }
        _ => Some(changed),
    }
}
