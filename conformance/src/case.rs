//! The format of a case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A topology, its input, and the expected output.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// Its description.
    pub group: String,
    /// `rules` or `kafka`; cases written by hand have none.
    #[serde(default = "rules")]
    pub basis: String,
    /// How to compare the output.
    #[serde(default)]
    pub order: OutputOrder,
    /// The topology.
    pub topology: CaseTopology,
    /// The input, in order.
    pub input: Vec<InputStep>,
    /// The expected output.
    #[serde(default)]
    pub output: Vec<Out>,
    /// The expected contents of tables at the end.
    #[serde(default)]
    pub store: BTreeMap<String, Vec<TableEntry>>,
    /// The records that `peek` must see, if they are compared.
    #[serde(default)]
    pub peeked: Option<Vec<Peeked>>,
}

fn rules() -> String {
    "rules".to_owned()
}

/// How to compare the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputOrder {
    /// The sequence of each topic.
    #[default]
    Strict,
    /// The sequence of each step, topic and key.
    StepSet,
}

/// The topology.
#[derive(Clone, Debug, Deserialize)]
pub struct CaseTopology {
    /// Topics that are consumed.
    pub sources: Vec<CaseSource>,
    /// Operators, each after those that it names.
    #[serde(default)]
    pub ops: Vec<Op>,
    /// Topics that are written to.
    #[serde(default)]
    pub sinks: Vec<CaseSink>,
}

/// A topic that is consumed, one of three ways.
#[derive(Clone, Debug, Deserialize)]
pub struct CaseSource {
    /// Its node's name.
    pub id: String,
    /// As a stream.
    pub stream: Option<String>,
    /// As a table.
    pub table: Option<String>,
    /// As a global table.
    pub global_table: Option<String>,
    /// The table's name.
    pub store: Option<String>,
}

/// An operator: its name and kind, and the members that its kind has.
#[derive(Clone, Debug, Deserialize)]
pub struct Op {
    /// Its node's name.
    pub id: String,
    /// Its kind.
    pub op: String,
    /// Everything else.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// Where records go.
#[derive(Clone, Debug, Deserialize)]
pub struct CaseSink {
    /// The node that they come from.
    pub from: String,
    /// To one topic.
    pub topic: Option<String>,
    /// To a topic chosen by the record.
    pub topic_by: Option<TopicBy>,
}

/// A topic chosen by a field.
#[derive(Clone, Debug, Deserialize)]
pub struct TopicBy {
    /// The field.
    pub field: String,
    /// Which value means which topic.
    pub topics: BTreeMap<String, String>,
    /// The topic of all others.
    pub default: String,
}

/// A record, or time that passes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum InputStep {
    /// The wall clock goes on.
    Clock {
        /// By how much.
        advance_wall_clock_ms: u64,
    },
    /// A record.
    Record {
        /// Its topic.
        topic: String,
        /// Its key.
        #[serde(default)]
        key: Value,
        /// Its value.
        #[serde(default)]
        value: Value,
        /// Its timestamp.
        ts: i64,
    },
}

/// A record that comes out.
#[derive(Clone, Debug, Deserialize)]
pub struct Out {
    /// During which step; hand-written cases may leave it out.
    #[serde(default)]
    pub at: Option<usize>,
    /// To which topic.
    pub topic: String,
    /// Its key.
    #[serde(default)]
    pub key: Value,
    /// Its value.
    #[serde(default)]
    pub value: Value,
    /// Its timestamp.
    pub ts: Option<i64>,
}

/// An entry of a table.
#[derive(Clone, Debug, Deserialize)]
pub struct TableEntry {
    /// Its key.
    #[serde(default)]
    pub key: Value,
    /// Its value.
    #[serde(default)]
    pub value: Value,
    /// Its timestamp, where tables keep one.
    pub ts: Option<i64>,
}

/// A record that passed a `peek`.
#[derive(Clone, Debug, Deserialize)]
pub struct Peeked {
    /// During which step.
    #[serde(default)]
    pub at: Option<usize>,
    /// The operator.
    pub op: String,
    /// Its key.
    #[serde(default)]
    pub key: Value,
    /// Its value.
    #[serde(default)]
    pub value: Value,
}

/// A case that cannot be read or built.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file cannot be read.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a case.
    #[error("{file}, line {line}: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Something that a case names does not exist.
    #[error("{0}")]
    Unknown(String),
}

impl CaseError {
    /// An error about one node.
    pub fn at(node: &str, what: impl std::fmt::Display) -> Self {
        Self::Unknown(format!("{node}: {what}"))
    }
}

impl Op {
    /// A member that must be there, as `T`.
    pub fn get<T: serde::de::DeserializeOwned>(&self, member: &str) -> Result<T, CaseError> {
        let value = self.members.get(member).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| CaseError::at(&self.id, format!("{}: {member}: {error}", self.op)))
    }

    /// Whether a member is there.
    pub fn has(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|value| !value.is_null())
    }

    /// The table's name, if one is given.
    pub fn store(&self) -> Result<Option<String>, CaseError> {
        self.get("store")
    }
}

/// The cases of a file: one JSON value, or one a line.
pub fn read(file: &str) -> Result<Vec<Case>, CaseError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| CaseError::Io { file: file.to_owned(), source })?;
    if let Ok(case) = serde_json::from_str(&text) {
        return Ok(vec![case]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| CaseError::Syntax {
                file: file.to_owned(),
                line: index + 1,
                source,
            })
        })
        .collect()
}
