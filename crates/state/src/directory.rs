//! The state directory of an application's instance: locked by one process at a time, with an
//! identity that outlives it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// An application's state directory, locked while this value lives.
///
/// | path below `{state_dir}/{application id}/` | what it is |
/// |---|---|
/// | `lock` | locked by the process that uses the directory, with its process id |
/// | `version` | the version of this layout |
/// | `instance` | the instance's identity |
/// | `tasks/` | one RocksDB database per task |
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    instance_id: String,
    /// Holds the lock, which the system releases when the process ends, however it ends.
    _lock: File,
}

/// The version of this layout and of the tables' entries in it.
const VERSION: &str = "2";

/// Older layouts whose tables are rebuilt from their changelogs. In layout 1, the entries of one
/// key (sessions, sliding windows, join buffers, suppress) were not adjacent.
const REBUILT: [&str; 1] = ["1"];

/// A state directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// Another process uses it, or another application in this process.
    #[error(
        "the state directory {} is in use{}: give each instance on a machine its own",
        path.display(), holder.as_ref().map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The id of the process that holds it, if known.
        holder: Option<String>,
    },
    /// It was written by a newer version. (Tables of an older one are rebuilt.)
    #[error(
        "the state directory {} has layout version {found:?}, and this is version {VERSION}",
        path.display()
    )]
    Version {
        /// The directory.
        path: PathBuf,
        /// The content of its version file.
        found: String,
    },
    /// Reading or writing it failed.
    #[error("the state directory {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
}

impl StateDir {
    /// Opens `{path}/{application_id}`, creating it if needed, and locks it.
    pub fn open(path: impl AsRef<Path>, application_id: &str) -> Result<Self, StateDirError> {
        let path = path.as_ref().join(application_id);
        let tasks = path.join("tasks");
        fs::create_dir_all(&tasks).map_err(|error| io(&tasks, error))?;
        let lock = lock(&path)?;
        check_version(&path)?;
        let instance_id = instance_id(&path)?;
        Ok(Self { path, instance_id, _lock: lock })
    }

    /// The instance's identity: created with the directory, never changed.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Where tasks keep their tables.
    pub fn tasks_dir(&self) -> PathBuf {
        self.path.join("tasks")
    }
}

fn io(path: &Path, error: std::io::Error) -> StateDirError {
    StateDirError::Io { path: path.to_owned(), error }
}

fn lock(directory: &Path) -> Result<File, StateDirError> {
    let path = directory.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|error| io(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let holder = Some(pid.trim().to_owned()).filter(|pid| !pid.is_empty());
            return Err(StateDirError::InUse { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(io(&path, error)),
    }
    let mut write = || {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write().map_err(|error| io(&path, error))?;
    Ok(file)
}

fn check_version(directory: &Path) -> Result<(), StateDirError> {
    let path = directory.join("version");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == VERSION => Ok(()),
        Ok(found) if REBUILT.contains(&found.trim()) => {
            // Write the version last: after a crash before it, the next start begins here again.
            let tasks = directory.join("tasks");
            fs::remove_dir_all(&tasks).map_err(|error| io(&tasks, error))?;
            fs::create_dir_all(&tasks).map_err(|error| io(&tasks, error))?;
            write_whole(directory, "version", VERSION)
        }
        Ok(found) => {
            let found = found.trim().to_owned();
            Err(StateDirError::Version { path: directory.to_owned(), found })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_whole(directory, "version", VERSION)
        }
        Err(error) => Err(io(&path, error)),
    }
}

fn instance_id(directory: &Path) -> Result<String, StateDirError> {
    let path = directory.join("instance");
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Ok(_) => new_instance_id(directory),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => new_instance_id(directory),
        Err(error) => Err(io(&path, error)),
    }
}

fn new_instance_id(directory: &Path) -> Result<String, StateDirError> {
    // The standard library seeds its hashers at random.
    let half = || RandomState::new().build_hasher().finish();
    let id = format!("{:016x}{:016x}", half(), half());
    write_whole(directory, "instance", &id)?;
    Ok(id)
}

/// Writes a file so that after a crash it exists with its whole text, or not at all.
fn write_whole(directory: &Path, name: &str, text: &str) -> Result<(), StateDirError> {
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.new"));
    let write = || {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| io(&path, error))
}
