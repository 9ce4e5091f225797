//! Opening a log: reading its state, and aborting what a dead process left open.

use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableError};

use super::layout::{self, LogFormat, VERSION, corrupt};
use super::mark::MarkContent;
use super::seal::LogId;
use super::snapshot::{Loaded, Snapshot};
use super::{
    ABORTED, Disk, DiskWriter, META, OFFSETS, PARTITIONS, RedbResult, SEGMENTS, TOPICS,
    TRANSACTIONAL,
};
use crate::state::LogState;

/// The kind of a database.
#[derive(Debug)]
pub(super) enum DatabaseKind {
    Log(LogFormat),
    /// An empty database.
    Empty,
    /// A log of a version that this program does not know.
    Newer(u32),
    Foreign,
}

/// Finds out what kind of database this is.
pub(super) fn kind(database: &impl ReadableDatabase) -> RedbResult<DatabaseKind> {
    let read = database.begin_read()?;
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) if read.list_tables()?.next().is_none() => {
            return Ok(DatabaseKind::Empty);
        }
        Err(TableError::TableDoesNotExist(_)) => return Ok(DatabaseKind::Foreign),
        Err(error) => return Err(error.into()),
    };
    let found = meta.get(layout::FORMAT)?.map(|format| layout::read_format(format.value()));
    Ok(match found.flatten() {
        Some(Ok(format)) => DatabaseKind::Log(format),
        Some(Err(version)) => DatabaseKind::Newer(version),
        None => DatabaseKind::Foreign,
    })
}

/// Initialises an empty database as a log.
pub(super) fn initialise(database: &Database, log: &LogId) -> RedbResult<()> {
    let transaction = database.begin_write()?;
    for table in [TOPICS, PARTITIONS, SEGMENTS, ABORTED, TRANSACTIONAL, OFFSETS] {
        transaction.open_table(table)?;
    }
    let mut ledger = super::Ledger::new(super::Seal::of(log));
    // The version must be read before the checksum, which depends on it.
    let format = layout::format(log);
    ledger.put(&transaction, META, layout::FORMAT, format)?;
    ledger.close(&transaction)?;
    Ok(transaction.commit()?)
}

/// Why a database that this program cannot read is refused.
pub(super) fn why_refused(kind: &DatabaseKind) -> String {
    match kind {
        DatabaseKind::Newer(version) => {
            format!("its format has version {version}, this program reads 1 and {VERSION}")
        }
        _ => "this is not a Headwater log".to_owned(),
    }
}

impl Disk {
    /// The log's state as it was last written, with all open transactions aborted.
    pub(super) fn recover(&self, said: Option<MarkContent>) -> RedbResult<LogState> {
        let loaded = self.with(|database| self.load(database, said))?;
        let Loaded { mut state, ledger, .. } = loaded;
        self.lock().ledger = ledger;
        let open = state.transactional.iter().filter(|(_, holder)| holder.open.is_some());
        let open: Vec<Arc<str>> = open.map(|(id, _)| id.clone()).collect();
        for id in &open {
            tracing::info!(transactional.id = %id, "aborting what a dead process left open");
            state.abort_open(id);
        }
        let batch = self.take_batch(&mut state);
        self.write_batch(&mut self.lock(), &batch)?;
        batch.show(&mut state);
        tracing::info!(
            place = %self,
            topics = state.topics.len(),
            aborted = open.len(),
            "embedded log opened",
        );
        Ok(state)
    }

    fn load(&self, database: &Database, said: Option<MarkContent>) -> RedbResult<Loaded> {
        let snapshot = Snapshot::new(database.begin_read()?, self.format);
        let loaded = snapshot.load(false)?;
        check_commits(said, loaded.ledger.commits)?;
        snapshot.walk(&loaded, !self.opening.verify, |_, _| Ok(()))?;
        Ok(loaded)
    }
}

/// Compares the database's number of commits with its mark's.
pub(super) fn check_commits(said: Option<MarkContent>, commits: u64) -> RedbResult<()> {
    match said {
        Some(MarkContent { commits: acknowledged, .. }) if acknowledged > commits => {
            let lost = acknowledged - commits;
            Err(corrupt(format!("the last {lost} acknowledged commits are missing")))
        }
        _ => Ok(()),
    }
}

impl DiskWriter {
    pub(super) fn new(bytes: u64, ledger: super::Ledger) -> Self {
        Self { written: 0, bytes, ledger }
    }
}
