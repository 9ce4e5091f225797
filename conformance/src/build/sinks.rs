//! Where records go.

use super::sources::topic;
use super::{AnyStream, Build, CaseNode};
use crate::case::{CaseError, CaseSink};
use crate::functions::ValueFunction;
use crate::key::{Key, RowKey};

impl<'b> Build<'b> {
    pub(super) fn sink(&mut self, sink: &CaseSink) -> Result<(), CaseError> {
        let stream = self.as_stream(&sink.from, self.find("a sink", &sink.from)?)?;
        match (&sink.topic, &sink.topic_by) {
            (Some(name), None) => stream.to(&topic(name)),
            (None, Some(by)) => {
                let field = ValueFunction::Field { field: Some(by.field.clone()) };
                let topics = by.topics.clone();
                let default = by.default.clone();
                stream.to_by(&topic(&by.default), move |key, value| {
                    let found = field.apply(key, value.clone());
                    let name = found.as_ref().and_then(|found| topics.get(found.as_str()?));
                    name.unwrap_or(&default).as_str().into()
                });
            }
            _ => return Err(CaseError::at(&sink.from, "a sink has a topic or topic_by")),
        }
        Ok(())
    }

    /// A node's records; a table's changes.
    pub(super) fn as_stream(
        &self,
        name: &str,
        node: CaseNode<'b>,
    ) -> Result<AnyStream<'b>, CaseError> {
        match node {
            CaseNode::Stream(flow) | CaseNode::Changes(flow) => Ok(flow.stream),
            CaseNode::Table(table) => Ok(table.to_stream().map_values(Option::flatten).shared()),
            CaseNode::WindowTable(table) => {
                let stream = table.to_stream();
                Ok(stream.map(|key, value| (key.to_key(), value.flatten())).shared())
            }
            CaseNode::Global(_) | CaseNode::Group(_) => {
                Err(CaseError::at(name, "it is neither a stream nor a table"))
            }
        }
    }

    /// Whether the library assumes that a node's keys changed, as when window keys become keys of
    /// cases.
    pub(super) fn is_rekeyed(node: &CaseNode<'_>) -> bool {
        match node {
            CaseNode::Stream(flow) | CaseNode::Changes(flow) => flow.rekeyed,
            CaseNode::WindowTable(_) => true,
            CaseNode::Table(_) | CaseNode::Global(_) | CaseNode::Group(_) => false,
        }
    }
}

/// Keys that are not null.
pub(super) fn has_key<V>(key: &Key, _: &V) -> bool {
    !key.is_null()
}
