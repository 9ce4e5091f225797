//! Checksums over a row's contents, table, key and log, so that a row from another place or another
//! log is noticed as well as a changed one.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Identifies a log.
pub(super) type LogId = [u8; 16];

/// Length of the checksum at the end of each row, in bytes.
pub(super) const SEAL_BYTES: usize = 4;

/// A new random id.
pub(super) fn new_log_id() -> LogId {
    // The standard library seeds each hasher at random.
    let part = |n: u64| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(n);
        hasher.finish().to_le_bytes()
    };
    let mut id = [0; 16];
    let halves = [part(0), part(1)];
    id.copy_from_slice(halves.as_flattened());
    id
}

/// Seals the rows of one log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal(u32);

impl Seal {
    pub(super) fn of(log: &LogId) -> Self {
        Self(crc32c::crc32c(log))
    }

    fn checksum(self, table: &str, key: &[u8], value: &[u8]) -> u32 {
        let seeded = crc32c::crc32c_append(self.0, table.as_bytes());
        // The key's length separates table name, key and value.
        let seeded = crc32c::crc32c_append(seeded, &(key.len() as u64).to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(seeded, key), value)
    }

    /// Appends the checksum to a row.
    pub(super) fn add(self, table: &str, key: &[u8], value: &mut Vec<u8>) {
        let checksum = self.checksum(table, key, value);
        value.extend_from_slice(&checksum.to_le_bytes());
    }

    /// The row without its checksum; `None` if it is not what was written there.
    pub(super) fn open<'a>(self, table: &str, key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (value, checksum) = sealed.split_last_chunk::<SEAL_BYTES>()?;
        (self.checksum(table, key, value) == u32::from_le_bytes(*checksum)).then_some(value)
    }
}

/// The checksum at the end of a row.
pub(super) fn checksum_of(sealed: &[u8]) -> Option<u32> {
    sealed.last_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_only_at_its_own_place() {
        let one = Seal::of(&new_log_id());
        let other = Seal::of(&new_log_id());
        let mut row = b"value".to_vec();
        one.add("table", b"key", &mut row);
        assert_eq!(one.open("table", b"key", &row), Some(&b"value"[..]));
        assert_eq!(other.open("table", b"key", &row), None, "another log");
        assert_eq!(one.open("tables", b"key", &row), None, "another table");
        assert_eq!(one.open("table", b"kez", &row), None, "another key");
        for bit in 0..row.len() * 8 {
            let mut damaged = row.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(one.open("table", b"key", &damaged), None, "bit {bit}");
        }
        (0..row.len()).for_each(|len| assert_eq!(one.open("table", b"key", &row[..len]), None));
    }
}
