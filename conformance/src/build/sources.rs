//! Topics that are consumed.

use headwater::errors::ErrorPolicy;
use headwater::{Table, Topic};

use super::{Build, CaseNode, CaseTable, Flow};
use crate::case::{CaseError, CaseSource};
use crate::key::{Key, KeyCodec, Val, ValCodec};

/// A topic as cases write it.
pub(crate) fn topic(name: &str) -> Topic<Key, Val> {
    Topic::with(name, KeyCodec, ValCodec)
}

/// A table as cases keep it.
pub(crate) fn table(name: &str) -> Table<Key, Val> {
    Table::with(name, KeyCodec, ValCodec)
}

impl<'b> Build<'b> {
    pub(super) fn source(&mut self, source: &CaseSource) -> Result<(), CaseError> {
        let node = match (&source.stream, &source.table, &source.global_table) {
            (Some(name), None, None) => {
                let stream = self.app.stream(&topic(name)).shared();
                CaseNode::Stream(Flow { stream, rekeyed: false })
            }
            (None, Some(name), None) => self.source_table(source, name),
            (None, None, Some(name)) => {
                let store = source.store.clone().unwrap_or_else(|| self.generate(&source.id));
                self.stores.insert(store.clone(), CaseTable::Global);
                let skip = ErrorPolicy::Skip;
                CaseNode::Global(
                    self.app
                        .global_table(topic(name).consumed_rows().on_error(skip), &table(&store)),
                )
            }
            _ => return Err(CaseError::at(&source.id, "a source is one of stream, table, …")),
        };
        self.nodes.insert(source.id.clone(), node);
        Ok(())
    }

    fn source_table(&mut self, source: &CaseSource, name: &str) -> CaseNode<'b> {
        if !self.plan.knows_old(&source.id) {
            // Kafka Streams drops records without key here.
            let stream = self.app.stream(&topic(name)).filter(|key, _| !key.is_null()).shared();
            return CaseNode::Changes(Flow { stream, rekeyed: false });
        }
        let store = source.store.clone().unwrap_or_else(|| self.generate(&source.id));
        self.stores.insert(store.clone(), CaseTable::Values(table(&store)));
        let rows = topic(name).consumed_rows().on_error(ErrorPolicy::Skip);
        CaseNode::Table(self.app.table(rows, &table(&store)))
    }
}
