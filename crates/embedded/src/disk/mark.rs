//! The mark: a small file beside the database. It holds the id of the log in this directory and its
//! number of commits, so that a missing, exchanged or rolled-back database is not taken for the
//! log. Its lock is the directory's lock.
//!
//! It is written after each commit and before the acknowledgement, without waiting for the disk. It
//! survives the process; after a power loss it may lag behind what was acknowledged, never run
//! ahead.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::seal::{LogId, SEAL_BYTES, Seal};

/// The file in the log's directory.
pub(super) const FILE: &str = "log.mark";

const MAGIC: &[u8; 16] = b"headwater mark\0\0";
const VERSION: u32 = 1;

/// Smaller than a sector, so that a write cannot be torn.
const BYTES: usize = 16 + 4 + 16 + 1 + 8 + SEAL_BYTES;

/// The contents of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkContent {
    pub(super) log: LogId,
    /// How many commits were acknowledged.
    pub(super) commits: u64,
    /// The log was never opened, so an incomplete database may be discarded.
    pub(super) is_fresh: bool,
}

/// The state of a directory's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundMark {
    /// No mark, or an empty one.
    Nothing,
    Damaged,
    Says(MarkContent),
}

/// The mark of a directory, locked.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    log: LogId,
}

/// Opens and locks the mark, creating it if needed. `None` if another owner has the lock.
pub(super) fn lock(directory: &Path) -> io::Result<Option<(File, FoundMark)>> {
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(directory.join(FILE))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut bytes = Vec::new();
    (&mut file).take(BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let found = match bytes.is_empty() {
        true => FoundMark::Nothing,
        false => read(&bytes).map_or(FoundMark::Damaged, FoundMark::Says),
    };
    Ok(Some((file, found)))
}

impl MarkFile {
    /// Takes over the mark, writes `content` and waits for the disk.
    pub(super) fn write(file: File, content: &MarkContent, directory: &Path) -> io::Result<Self> {
        let mark = Self { file, log: content.log };
        mark.file.set_len(BYTES as u64)?;
        mark.put(content)?;
        mark.file.sync_all()?;
        sync_directory(directory);
        Ok(mark)
    }

    /// Takes over a mark that needs no change.
    pub(super) fn keep(file: File, log: LogId) -> Self {
        Self { file, log }
    }

    /// Notes the number of acknowledged commits.
    pub(super) fn note(&self, commits: u64) -> io::Result<()> {
        self.put(&MarkContent { log: self.log, commits, is_fresh: false })
    }

    /// Waits until it is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn put(&self, content: &MarkContent) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&bytes(content))
    }
}

/// Makes new names in a directory durable, where the system supports it.
pub(super) fn sync_directory(directory: &Path) {
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}

fn bytes(content: &MarkContent) -> Vec<u8> {
    let mut out = [&MAGIC[..], &VERSION.to_le_bytes(), &content.log].concat();
    out.push(u8::from(content.is_fresh));
    out.extend_from_slice(&content.commits.to_le_bytes());
    Seal::of(&content.log).add(FILE, b"", &mut out);
    out
}

fn read(bytes: &[u8]) -> Option<MarkContent> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
    let (log, rest) = rest.split_first_chunk::<16>()?;
    Seal::of(log).open(FILE, b"", bytes)?;
    let (&[fresh], rest) = rest.split_first_chunk::<1>()?;
    let commits = u64::from_le_bytes(*rest.first_chunk()?);
    Some(MarkContent { log: *log, commits, is_fresh: fresh != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_a_damaged_one_does_not() {
        let content = MarkContent { log: [7; 16], commits: 300, is_fresh: false };
        let written = bytes(&content);
        assert_eq!((written.len(), read(&written)), (BYTES, Some(content)));
        for bit in 0..BYTES * 8 {
            let mut damaged = written.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&damaged), None, "bit {bit}");
        }
        (0..BYTES).for_each(|len| assert_eq!(read(&written[..len]), None, "cut at {len}"));
    }
}
