//! Reads back what a table, a buffer or a store of a join has.

use std::fmt::Write;
use std::sync::Arc;

use crate::codec::{Codec, CodecError};
use crate::error::{Failure, StoredError};
use crate::window::Window;

/// Reads a value back. `key` is called only if that fails.
pub(crate) fn value<V: 'static>(
    table: &Arc<str>,
    codec: &dyn Codec<V>,
    bytes: &[u8],
    key: impl FnOnce() -> String,
) -> Result<V, Failure> {
    codec.decode(Some(bytes)).map_err(|error| broken(table, "value", key(), error))
}

/// Reads a key back.
pub(crate) fn key<K: 'static>(
    table: &Arc<str>,
    codec: &dyn Codec<K>,
    bytes: &[u8],
) -> Result<K, Failure> {
    codec.decode(Some(bytes)).map_err(|error| broken(table, "key", shown(bytes), error))
}

/// Creates the failure for an entry under `key` that cannot be read.
#[cold]
pub(crate) fn broken(
    table: &Arc<str>,
    part: &'static str,
    key: String,
    source: CodecError,
) -> Failure {
    StoredError { table: Arc::clone(table), part, key, source }.into()
}

/// Only the beginning of a long key is shown.
const SHOWN_BYTES: usize = 64;

/// Formats a key for people: text in quotes, anything else in hexadecimal digits.
pub(crate) fn shown(key: &[u8]) -> String {
    let cut = &key[..key.len().min(SHOWN_BYTES)];
    let is_text = |text: &&str| !text.chars().any(char::is_control);
    // The cut may split a character.
    let text = match std::str::from_utf8(cut) {
        Ok(text) => Some(text),
        Err(error) if key.len() > cut.len() && error.error_len().is_none() => {
            std::str::from_utf8(&cut[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let mut shown = match text.filter(is_text) {
        Some(text) => format!("{text:?}"),
        None => cut.iter().fold("0x".to_owned(), |mut all, byte| {
            // Writing to a string does not fail.
            let _ = write!(all, "{byte:02x}");
            all
        }),
    };
    if key.len() > cut.len() {
        let _ = write!(shown, "… ({} bytes)", key.len());
    }
    shown
}

/// Formats a key with its window.
pub(crate) fn shown_in_window(key: &[u8], window: Window) -> String {
    format!("{} in the window {}..{}", shown(key), window.start, window.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_in_readable_form() {
        assert_eq!(shown(b"ann"), "\"ann\"");
        assert_eq!(shown("größe".as_bytes()), "\"größe\"");
        assert_eq!(shown(&7_u64.to_be_bytes()), "0x0000000000000007");
        assert_eq!(shown(b""), "\"\"");
        let long = "ä".repeat(1_000);
        assert_eq!(shown(long.as_bytes()), format!("\"{}\"… (2000 bytes)", "ä".repeat(32)));
        let odd = shown(&long.as_bytes()[1..]);
        assert!(odd.starts_with("0xa4c3") && odd.len() < 200, "{odd}");
        let cut = format!("x{long}");
        assert!(shown(cut.as_bytes()).starts_with("\"xää"), "{}", shown(cut.as_bytes()));
    }
}
