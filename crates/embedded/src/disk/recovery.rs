//! Opening a log: reading what is there, and ending what a dead process has left open.

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

/// What a database turned out to be.
#[derive(Debug)]
pub(super) enum DatabaseKind {
    Log(LogFormat),
    /// Nothing is in it.
    Empty,
    /// A log of a version that this program does not know.
    Newer(u32),
    Foreign,
}

/// What kind of database this is.
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

/// Makes an empty database a log.
pub(super) fn initialise(database: &Database, log: &LogId) -> RedbResult<()> {
    let transaction = database.begin_write()?;
    for table in [TOPICS, PARTITIONS, SEGMENTS, ABORTED, TRANSACTIONAL, OFFSETS] {
        transaction.open_table(table)?;
    }
    let mut ledger = super::Ledger::new(super::Seal::of(log));
    // The version is read before the seal can be checked.
    let format = layout::format(log);
    ledger.put(&transaction, META, layout::FORMAT, format)?;
    ledger.close(&transaction)?;
    Ok(transaction.commit()?)
}

/// Why a database is refused that is no log this program reads.
pub(super) fn why_refused(kind: &DatabaseKind) -> String {
    match kind {
        DatabaseKind::Newer(version) => {
            format!("its format has version {version}, this program reads 1 and {VERSION}")
        }
        _ => "this is not a Headwater log".to_owned(),
    }
}

impl Disk {
    /// The state of the log as it was last written, with nothing open.
    pub(super) fn recover(&self, said: Option<MarkContent>) -> RedbResult<LogState> {
        let loaded = self.with(|database| self.load(database, said))?;
        let Loaded { mut state, ledger, .. } = loaded;
        self.lock().ledger = ledger;
        let open = state.transactional.iter().filter(|(_, holder)| holder.open.is_some());
        let open: Vec<Arc<str>> = open.map(|(id, _)| id.clone()).collect();
        for id in &open {
            tracing::info!(transactional.id = %id, "aborting what a dead process has left open");
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

/// Compares what the database has come to with what its mark says.
pub(super) fn check_commits(said: Option<MarkContent>, commits: u64) -> RedbResult<()> {
    match said {
        Some(MarkContent { commits: acknowledged, .. }) if acknowledged > commits => {
            let lost = acknowledged - commits;
            Err(corrupt(format!("the last {lost} commits that were acknowledged are not in it")))
        }
        _ => Ok(()),
    }
}

impl DiskWriter {
    pub(super) fn new(bytes: u64, ledger: super::Ledger) -> Self {
        Self { written: 0, bytes, ledger }
    }
}
