//! Functions that add to, subtract from and merge aggregates.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{integer, subject};
use crate::key::Val;

/// A function from an aggregate and a value to an aggregate.
#[derive(Clone, Debug, Deserialize)]
pub struct Aggregator {
    #[serde(rename = "fn")]
    name: AggregatorKind,
    field: Option<String>,
    #[serde(rename = "as")]
    member: Option<String>,
    #[serde(default)]
    null_if_zero: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AggregatorKind {
    Count,
    Uncount,
    Sum,
    Sub,
    Min,
    Max,
    First,
    Last,
    Collect,
    Uncollect,
    Tally,
}

impl Aggregator {
    /// The aggregate with a record's value.
    pub fn add(&self, aggregate: Val, value: &Val) -> Val {
        self.combine(aggregate, subject(value, self.field.as_deref()))
    }

    /// As a reducer: the value itself is what is added.
    pub fn reduce(&self, aggregate: Val, value: Val) -> Val {
        let x = match self.name {
            AggregatorKind::Tally => subject(&value, self.field.as_deref()),
            _ => value,
        };
        self.combine(aggregate, x)
    }

    /// Merges two aggregates, the earlier one first.
    pub fn merge(&self, first: Val, second: Val) -> Val {
        match self.name {
            AggregatorKind::Count
            | AggregatorKind::Uncount
            | AggregatorKind::Sum
            | AggregatorKind::Sub => self.number(number(&first) + number(&second)),
            AggregatorKind::Min | AggregatorKind::Max | AggregatorKind::First => {
                if first.is_none() || second.is_none() {
                    return first.or(second);
                }
                self.combine(first, second)
            }
            AggregatorKind::Last => second.or(first),
            AggregatorKind::Collect | AggregatorKind::Uncollect => {
                let mut all = array(first);
                all.extend(array(second));
                Some(Value::Array(all))
            }
            AggregatorKind::Tally => {
                let mut all = object(first);
                for (member, value) in object(second) {
                    let sum = number(&all.get(&member).cloned()) + number(&Some(value));
                    all.insert(member, json!(sum));
                }
                Some(Value::Object(all))
            }
        }
    }

    fn combine(&self, a: Val, x: Val) -> Val {
        match self.name {
            AggregatorKind::Count => Some(json!(number(&a) + 1)),
            AggregatorKind::Uncount => self.number(number(&a) - 1),
            AggregatorKind::Sum => self.number(number(&a) + number(&x)),
            AggregatorKind::Sub => self.number(number(&a) - number(&x)),
            AggregatorKind::Min => extreme(a, &x, i64::min),
            AggregatorKind::Max => extreme(a, &x, i64::max),
            AggregatorKind::First => a.or(x),
            AggregatorKind::Last => x,
            AggregatorKind::Collect => {
                let mut all = array(a);
                all.push(x.unwrap_or(Value::Null));
                Some(Value::Array(all))
            }
            AggregatorKind::Uncollect => {
                let mut all = array(a);
                let x = x.unwrap_or(Value::Null);
                if let Some(found) = all.iter().position(|element| *element == x) {
                    all.remove(found);
                }
                Some(Value::Array(all))
            }
            AggregatorKind::Tally => {
                let mut all = object(a);
                let member = self.member.clone().unwrap_or_default();
                let by = if self.field.is_some() { number(&x) } else { 1 };
                let sum = number(&all.get(&member).cloned()) + by;
                all.insert(member, json!(sum));
                Some(Value::Object(all))
            }
        }
    }

    fn number(&self, number: i64) -> Val {
        (!(self.null_if_zero && number == 0)).then(|| json!(number))
    }
}

/// A non-integer counts as 0.
fn number(value: &Val) -> i64 {
    integer(value).unwrap_or(0)
}

fn extreme(a: Val, x: &Val, choose: fn(i64, i64) -> i64) -> Val {
    match (integer(&a), integer(x)) {
        (_, None) => a,
        (None, Some(x)) => Some(json!(x)),
        (Some(old), Some(x)) => Some(json!(choose(old, x))),
    }
}

fn array(value: Val) -> Vec<Value> {
    match value {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    }
}

fn object(value: Val) -> Map<String, Value> {
    match value {
        Some(Value::Object(all)) => all,
        _ => Map::new(),
    }
}
