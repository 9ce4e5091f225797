//! Store keys of windows: writing them and reading them back.

use crate::record::Timestamp;
use crate::state::changelog::{BY_TIME, Layout, key_and_suffix, write_prefix};
use crate::window::{Naming, Window, Windows};

/// The size of a time in a store key.
const TIME: usize = size_of::<Timestamp>();

/// Kafka Streams' sequence number, for stores with duplicates.
const SEQUENCE: [u8; 4] = [0; 4];

impl Naming {
    /// The layout of a table with such windows.
    pub(crate) fn layout(self) -> Layout {
        match self {
            Self::Start => Layout::Window,
            Self::StartNear | Self::EndAndStart => Layout::Keyed(self.suffix_len()),
        }
    }

    /// Appends the store key of `window`, with the key that `write_key` appends.
    pub(crate) fn write<E>(
        self,
        window: Window,
        out: &mut Vec<u8>,
        write_key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Start => {
                out.extend_from_slice(&window.start.to_be_bytes());
                write_key(out)
            }
            Self::StartNear | Self::EndAndStart => {
                write_prefix(out, write_key)?;
                self.write_suffix(window, out);
                Ok(())
            }
        }
    }

    pub(crate) fn write_suffix(self, window: Window, out: &mut Vec<u8>) {
        match self {
            Self::Start => {}
            Self::StartNear => {
                out.extend_from_slice(&window.start.to_be_bytes());
                out.extend_from_slice(&SEQUENCE);
            }
            Self::EndAndStart => {
                out.extend_from_slice(&window.end.to_be_bytes());
                out.extend_from_slice(&window.start.to_be_bytes());
            }
        }
    }

    /// Reads a by-key store key: its window, and the key in it.
    pub(crate) fn read<'k>(self, windows: &impl Windows, key: &'k [u8]) -> (Window, &'k [u8]) {
        match self {
            Self::Start => {
                let (start, key) = key.split_at(key.len().min(TIME));
                (windows.starting_at(time(start)), key)
            }
            Self::StartNear | Self::EndAndStart => {
                let (key, suffix) = key_and_suffix(key, self.suffix_len());
                (self.window(windows, suffix), key)
            }
        }
    }

    /// Reads a by-time store key.
    pub(crate) fn read_by_time<'k>(
        self,
        windows: &impl Windows,
        key: &'k [u8],
    ) -> (Window, &'k [u8]) {
        if self == Self::Start {
            return self.read(windows, key);
        }
        let key = key.get(1..).unwrap_or_default();
        let (suffix, key) = key.split_at(key.len().min(self.suffix_len()));
        (self.window(windows, suffix), key)
    }

    /// The by-time store key where windows begin whose names begin with `time` or later.
    pub(crate) fn lower_bound(self, time: Timestamp) -> Vec<u8> {
        let time = time.max(0).to_be_bytes();
        match self {
            Self::Start => time.to_vec(),
            _ => [&[BY_TIME], &time[..]].concat(),
        }
    }

    /// The time with which a window's name begins.
    pub(crate) fn time(self, window: Window) -> Timestamp {
        match self {
            Self::Start | Self::StartNear => window.start,
            Self::EndAndStart => window.end,
        }
    }

    pub(crate) fn suffix_len(self) -> usize {
        match self {
            Self::Start => 0,
            Self::StartNear => TIME + SEQUENCE.len(),
            Self::EndAndStart => 2 * TIME,
        }
    }

    fn window(self, windows: &impl Windows, suffix: &[u8]) -> Window {
        let first = time(suffix);
        match self {
            Self::EndAndStart => {
                Window { start: time(suffix.get(TIME..).unwrap_or_default()), end: first }
            }
            _ => windows.starting_at(first),
        }
    }
}

/// Reads eight bytes as a time. Shorter bytes were not written by us, and sort first.
fn time(bytes: &[u8]) -> Timestamp {
    bytes.first_chunk::<TIME>().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
