//! The log's directory: opening, creating or replacing its two files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use runtime::transport::Result;

use super::guard::{Storage, discard, guarded};
use super::layout::{LogFormat, corrupt};
use super::ledger::Ledger;
use super::mark::{self, FoundMark, MarkContent, MarkFile};
use super::recovery::{DatabaseKind, initialise, kind, why_refused};
use super::rescue;
use super::seal::{LogId, Seal, new_log_id};
use super::{ADVICE, Disk, DiskWriter, RedbResult, cause};
use crate::damage::LeftOut;
use crate::error::{fatal, refused};
use crate::state::LogState;

/// redb's page cache, in bytes. It is small, because our own cache holds the end of the log, which
/// is read most.
const PAGE_CACHE_BYTES: usize = 32 << 20;

/// The database in the log's directory.
pub(super) const FILE: &str = "log.redb";

/// The most damaged places that an error names.
const PLACES_MAX: usize = 8;

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskOptions {
    pub(crate) cache_bytes: usize,
    /// Verifies all of it.
    pub(crate) verify: bool,
    /// Leaves out what is damaged.
    pub(crate) skip: bool,
}

/// A log's directory, locked against other processes.
struct Directory {
    path: PathBuf,
    place: String,
    mark: File,
    opening: DiskOptions,
}

/// Why opening failed.
enum OpenFailure {
    /// The database is damaged; the copy of the intact part may still succeed.
    Damage(redb::Error),
    /// Written by an earlier version.
    Old,
    Final(runtime::transport::TransportError),
}

impl From<redb::Error> for OpenFailure {
    fn from(error: redb::Error) -> Self {
        Self::Damage(error)
    }
}

impl Disk {
    /// Opens the log in a directory, or creates it.
    pub(crate) fn open(path: &Path, opening: DiskOptions) -> Result<(Self, LogState)> {
        let place = path.display().to_string();
        let context = || format!("open the embedded log in {place}");
        let failed = |e: io::Error| fatal(context(), e.to_string());
        fs::create_dir_all(path).map_err(failed)?;
        let Some((mark, found)) = mark::lock(path).map_err(failed)? else {
            return Err(already_open(&place));
        };
        let path = path.to_owned();
        let directory = Directory { path, place: place.clone(), mark, opening };
        directory.open(found)
    }

    /// Opens the log on a given storage, or creates one there. There is no mark file beside it to
    /// identify the log.
    pub(crate) fn open_on(
        backend: impl StorageBackend,
        opening: DiskOptions,
    ) -> Result<(Self, LogState)> {
        let context = || "open the embedded log on a given storage";
        let bytes = backend.len().unwrap_or(0);
        let storage = Storage::new(backend);
        let opened = open_database(&storage, opening.verify).and_then(|database| {
            let format = guarded(|| match kind(&database)? {
                DatabaseKind::Log(format @ LogFormat::Two(_)) => Ok(format),
                DatabaseKind::Empty => {
                    let log = new_log_id();
                    initialise(&database, &log)?;
                    Ok(LogFormat::Two(log))
                }
                kind => Err(corrupt(why_refused(&kind))),
            });
            match format {
                Ok(format) => Ok((database, format)),
                Err(error) => {
                    give_up(database, &storage, &error);
                    Err(error)
                }
            }
        });
        let (database, format) = opened.map_err(|error| fatal(context(), cause(&error)))?;
        let place = "a given storage".to_owned();
        let disk = Self::new(database, storage, None, place, format, bytes, opening);
        let state = disk.recover(None).map_err(|error| fatal(context(), cause(&error)))?;
        Ok((disk, state))
    }

    pub(super) fn new(
        database: Database,
        storage: Storage,
        mark: Option<MarkFile>,
        place: String,
        format: LogFormat,
        bytes: u64,
        opening: DiskOptions,
    ) -> Self {
        let log = match format {
            LogFormat::One => [0; 16],
            LogFormat::Two(log) => log,
        };
        let writer = Mutex::new(DiskWriter::new(bytes, Ledger::new(Seal::of(&log))));
        let database = Some(database);
        Self {
            database,
            storage,
            mark,
            writer,
            place,
            format,
            opening,
            left_out: Vec::new(),
            broken: OnceLock::new(),
        }
    }
}

fn already_open(place: &str) -> runtime::transport::TransportError {
    let why = "another owner has it open; stop that one, or use another directory";
    refused(format!("open the embedded log in {place}"), why)
}

/// Opens or creates a database; with `verify`, checks every page.
pub(super) fn open_database(storage: &Storage, verify: bool) -> RedbResult<Database> {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(PAGE_CACHE_BYTES).set_check_integrity_on_open(verify);
    let opened = guarded(|| Ok(builder.create_with_backend(storage.clone())?));
    opened.inspect_err(|_| storage.sever())
}

/// Drops a database that may be damaged without writing to it.
pub(super) fn give_up<T>(database: T, storage: &Storage, error: &redb::Error) {
    storage.sever();
    discard(database, error);
}

pub(super) fn file_storage(path: &Path) -> RedbResult<Storage> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Storage::new(FileBackend::new(file)?))
}

impl Directory {
    fn open(self, found: FoundMark) -> Result<(Disk, LogState)> {
        // An earlier copy was interrupted.
        let _ = fs::remove_file(self.path.join(rescue::NEW_FILE));
        let opened = match self.open_found(found) {
            Err(OpenFailure::Old) => self.upgrade(),
            Err(OpenFailure::Damage(error)) if self.opening.skip => self.open_rest(found, error),
            opened => opened,
        };
        opened.map_err(|failure| match failure {
            OpenFailure::Final(error) => error,
            OpenFailure::Damage(error) => fatal(self.context(), self.describe(found, &error)),
            OpenFailure::Old => fatal(self.context(), "its format is still the old one"),
        })
    }

    /// What is damaged, and what can be done about it.
    fn describe(&self, found: FoundMark, error: &redb::Error) -> String {
        let redb::Error::Corrupted(what) = error else { return cause(error) };
        let said = match found {
            FoundMark::Says(said) => Some(said),
            FoundMark::Nothing | FoundMark::Damaged => None,
        };
        let Ok(left_out) = rescue::survey(&self.path, said) else {
            let why = "too much of it to open the rest; restore the directory from a backup";
            return format!("it is damaged: {what}; {why}");
        };
        let mut places: Vec<_> = left_out.iter().take(PLACES_MAX).map(|p| p.to_string()).collect();
        if left_out.len() > PLACES_MAX {
            places.push(format!("and {} places more", left_out.len() - PLACES_MAX));
        }
        match places.is_empty() {
            true => format!("it is damaged: {what}; {ADVICE}"),
            false => format!("it is damaged: {what}; damaged are {}; {ADVICE}", places.join(", ")),
        }
    }

    fn context(&self) -> String {
        format!("open the embedded log in {}", self.place)
    }

    fn database_bytes(&self) -> u64 {
        fs::metadata(self.path.join(FILE)).map_or(0, |file| file.len())
    }

    fn open_found(&self, found: FoundMark) -> std::result::Result<(Disk, LogState), OpenFailure> {
        let is_there = self.database_bytes() > 0;
        match found {
            FoundMark::Nothing if !is_there => self.begin(new_log_id()),
            FoundMark::Says(said) if said.is_fresh => {
                // It was never opened: a crash interrupted its creation.
                match fs::remove_file(self.path.join(FILE)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(self.failed(error))
                    }
                    _ => self.begin(said.log),
                }
            }
            FoundMark::Says(_) | FoundMark::Damaged if !is_there => {
                let why = format!(
                    "{FILE} is missing or empty, and {} says that there was a log; take the \
                     directory back from a backup, or remove {} to begin a new log",
                    mark::FILE,
                    mark::FILE,
                );
                Err(OpenFailure::Final(fatal(self.context(), why)))
            }
            FoundMark::Damaged => Err(corrupt(format!("{} cannot be read", mark::FILE)).into()),
            FoundMark::Says(said) => self.open_existing(Some(said), false),
            FoundMark::Nothing => self.open_existing(None, false),
        }
    }

    fn failed(&self, error: io::Error) -> OpenFailure {
        OpenFailure::Final(fatal(self.context(), error.to_string()))
    }

    /// Begins a new log.
    fn begin(&self, log: LogId) -> std::result::Result<(Disk, LogState), OpenFailure> {
        let fresh = MarkContent { log, commits: 0, is_fresh: true };
        let file = self.mark.try_clone().map_err(|error| self.failed(error))?;
        let mark = MarkFile::write(file, &fresh, &self.path).map_err(|error| self.failed(error))?;
        let storage = file_storage(&self.path.join(FILE))?;
        let database = self.database(&storage)?;
        guarded(|| initialise(&database, &log))?;
        mark::sync_directory(&self.path);
        self.recover(database, storage, LogFormat::Two(log), mark, None)
    }

    fn database(&self, storage: &Storage) -> std::result::Result<Database, OpenFailure> {
        open_database(storage, self.opening.verify).map_err(|error| match error {
            redb::Error::DatabaseAlreadyOpen => OpenFailure::Final(already_open(&self.place)),
            error => OpenFailure::Damage(error),
        })
    }

    /// Opens a database that is not empty. With `trusting`, it needs no mark file.
    fn open_existing(
        &self,
        said: Option<MarkContent>,
        trusting: bool,
    ) -> std::result::Result<(Disk, LogState), OpenFailure> {
        let storage = file_storage(&self.path.join(FILE))?;
        let database = self.database(&storage)?;
        let log = match guarded(|| kind(&database)) {
            Ok(kind) => self.right_log(kind, said, trusting),
            Err(error) => Err(error.into()),
        };
        match log {
            Ok(log) => {
                let file = self.mark.try_clone().map_err(|error| self.failed(error))?;
                let mark = MarkFile::keep(file, log);
                self.recover(database, storage, LogFormat::Two(log), mark, said)
            }
            Err(failure) => {
                let closed = redb::Error::DatabaseClosed;
                let error = if let OpenFailure::Damage(error) = &failure { error } else { &closed };
                give_up(database, &storage, error);
                Err(failure)
            }
        }
    }

    /// The id of the log in a database, if it belongs to this directory.
    fn right_log(
        &self,
        kind: DatabaseKind,
        said: Option<MarkContent>,
        trusting: bool,
    ) -> std::result::Result<LogId, OpenFailure> {
        match (kind, said) {
            (DatabaseKind::Log(LogFormat::One), _) => Err(OpenFailure::Old),
            (DatabaseKind::Log(LogFormat::Two(log)), Some(said)) if said.log == log => Ok(log),
            (DatabaseKind::Log(LogFormat::Two(_)), Some(_)) => {
                let why = format!(
                    "{FILE} is not the log that {} belongs to: files of two directories were \
                     mixed up, or a copy of an earlier log was put here",
                    mark::FILE,
                );
                Err(OpenFailure::Final(fatal(self.context(), why)))
            }
            (DatabaseKind::Log(LogFormat::Two(log)), None) if trusting => Ok(log),
            (DatabaseKind::Log(LogFormat::Two(_)), None) => {
                Err(corrupt(format!("{} is missing or empty", mark::FILE)).into())
            }
            (DatabaseKind::Empty, _) => Err(corrupt(format!("{FILE} is empty")).into()),
            (kind, _) => Err(OpenFailure::Final(refused(self.context(), why_refused(&kind)))),
        }
    }

    fn recover(
        &self,
        database: Database,
        storage: Storage,
        format: LogFormat,
        mark: MarkFile,
        said: Option<MarkContent>,
    ) -> std::result::Result<(Disk, LogState), OpenFailure> {
        let place = self.place.clone();
        let bytes = self.database_bytes();
        let disk = Disk::new(database, storage, Some(mark), place, format, bytes, self.opening);
        let state = disk.recover(said)?;
        disk.mark.as_ref().map_or(Ok(()), MarkFile::sync).map_err(|error| self.failed(error))?;
        Ok((disk, state))
    }

    /// Rewrites a log of an earlier version in the current format, and opens it.
    fn upgrade(&self) -> std::result::Result<(Disk, LogState), OpenFailure> {
        tracing::info!(place = %self.place, "rewriting the log in the current format");
        let log = new_log_id();
        rescue::upgrade(&self.path, log)?;
        let said = MarkContent { log, commits: 0, is_fresh: false };
        self.exchange(&said)?;
        self.open_existing(Some(said), false)
    }

    /// Opens the part that is not damaged.
    fn open_rest(
        &self,
        found: FoundMark,
        error: redb::Error,
    ) -> std::result::Result<(Disk, LogState), OpenFailure> {
        tracing::warn!(place = %self.place, %error, "the embedded log is damaged");
        let said = match found {
            FoundMark::Says(said) => Some(said),
            FoundMark::Nothing | FoundMark::Damaged => None,
        };
        // If nothing can be saved, the first error is the cause.
        let (log, mut left_out) = rescue::rescue(&self.path, said).map_err(|second| {
            tracing::warn!(place = %self.place, error = %second, "its intact part is lost too");
            error
        })?;
        left_out.push(LeftOut::KeptAs(self.keep_damaged().map_err(|e| self.failed(e))?));
        let said =
            MarkContent { log, commits: said.map_or(0, |said| said.commits), is_fresh: false };
        self.exchange(&said)?;
        let (mut disk, state) = self.open_existing(Some(said), false)?;
        for what in &left_out {
            tracing::warn!(place = %self.place, %what, "left out of the embedded log");
        }
        disk.left_out = left_out;
        Ok((disk, state))
    }

    /// Gives the damaged database a second name.
    fn keep_damaged(&self) -> io::Result<PathBuf> {
        let names = (1..).map(|n| match n {
            1 => format!("{FILE}.damaged"),
            n => format!("{FILE}.damaged.{n}"),
        });
        let mut free = names.map(|name| self.path.join(name)).filter(|path| !path.exists());
        let kept = free.next().unwrap_or_else(|| self.path.join(rescue::NEW_FILE));
        let file = self.path.join(FILE);
        // A hard link costs no space, but not every file system has it.
        fs::hard_link(&file, &kept).or_else(|_| fs::copy(&file, &kept).map(drop))?;
        Ok(kept)
    }

    /// Replaces the old database with the new one. The mark file is written first: a crash in
    /// between leaves a directory that opens, because the new log has the old one's id, or the old
    /// one has none.
    fn exchange(&self, said: &MarkContent) -> std::result::Result<(), OpenFailure> {
        let exchange = || {
            MarkFile::write(self.mark.try_clone()?, said, &self.path)?;
            fs::rename(self.path.join(rescue::NEW_FILE), self.path.join(FILE))?;
            mark::sync_directory(&self.path);
            Ok(())
        };
        exchange().map_err(|error| self.failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: DiskOptions = DiskOptions { cache_bytes: 1 << 20, verify: true, skip: false };

    fn begun(path: &Path, database: Option<&[u8]>) {
        let (file, found) = mark::lock(path).unwrap().unwrap();
        assert_eq!(found, FoundMark::Nothing);
        let fresh = MarkContent { log: [3; 16], commits: 0, is_fresh: true };
        MarkFile::write(file, &fresh, path).unwrap();
        if let Some(bytes) = database {
            fs::write(path.join(FILE), bytes).unwrap();
        }
    }

    /// Whatever a crash left of a log that was never opened, its creation can start again.
    #[test]
    fn a_beginning_may_be_interrupted_anywhere() {
        let whole = tempfile::tempdir().unwrap();
        drop(Disk::open(whole.path(), OPENING).unwrap());
        let whole = fs::read(whole.path().join(FILE)).unwrap();
        for len in [None, Some(0), Some(9), Some(4096), Some(whole.len() / 2), Some(whole.len())] {
            let directory = tempfile::tempdir().unwrap();
            begun(directory.path(), len.map(|len| &whole[..len]));
            drop(Disk::open(directory.path(), OPENING).unwrap());
            // From here on the log exists, and must not be replaced by an empty one.
            fs::remove_file(directory.path().join(FILE)).unwrap();
            let error = Disk::open(directory.path(), OPENING).unwrap_err().to_string();
            assert!(error.contains("log.redb is missing or empty"), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(mark::FILE), b"").unwrap();
        drop(Disk::open(directory.path(), OPENING).unwrap());
    }
}
