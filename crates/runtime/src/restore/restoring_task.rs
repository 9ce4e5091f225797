//! A task on its way to its worker.

use streams_core::{Resume, Store};

use super::changelog::TableRestore;
use crate::assignment::Assignment;
use crate::messages::{RequestedStore, RestoreRequest};

pub(super) struct RestoringTask {
    pub(super) assignment: Assignment,
    pub(super) phase: RestorePhase,
    /// `None` until it is open, and once the task is with its worker.
    pub(super) store: Option<Box<dyn Store>>,
    /// Where its inputs resume, from [`RestorePhase::LookUpEnds`] on.
    pub(super) resume: Vec<Resume>,
    /// Its tables, from [`RestorePhase::ReadChangelogs`] on.
    pub(super) tables: Vec<TableRestore>,
    /// Changelog records applied.
    pub(super) restored: u64,
}

/// What a task does next. The order of the phases makes it see every committed effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestorePhase {
    /// Open the store, and delete it first if it `is_corrupt`.
    OpenStore { is_corrupt: bool },
    /// Ask the group for its committed offsets.
    LookUpOffsets,
    /// Ask the log where the changelogs end.
    LookUpEnds,
    /// Read the changelogs up to those ends.
    ReadChangelogs,
    /// Check the tables against the offsets.
    Verify,
    /// Go to the worker, once global tables are ready.
    Ready,
}

impl From<RestoreRequest> for RestoringTask {
    fn from(request: RestoreRequest) -> Self {
        let RestoreRequest { assignment, store } = request;
        let (phase, store) = match store {
            RequestedStore::Closed => (RestorePhase::OpenStore { is_corrupt: false }, None),
            RequestedStore::Corrupt => (RestorePhase::OpenStore { is_corrupt: true }, None),
            RequestedStore::Open(store) => (RestorePhase::LookUpOffsets, Some(store)),
        };
        Self { assignment, phase, store, resume: Vec::new(), tables: Vec::new(), restored: 0 }
    }
}

impl RestoringTask {
    /// Bytes of entries that were read and not applied yet.
    pub(super) fn unapplied_bytes(&self) -> usize {
        self.tables.iter().map(TableRestore::unapplied_bytes).sum()
    }

    /// Changelog offsets that are still to be read.
    pub(super) fn remaining(&self) -> i64 {
        self.tables.iter().map(TableRestore::remaining).sum()
    }

    /// Changelog offsets to read in all.
    pub(super) fn total(&self) -> i64 {
        self.tables.iter().map(TableRestore::total).sum()
    }
}
