//! Windowed keys in Kafka Streams' bytes.

use std::sync::Arc;
use std::time::Duration;

use super::{Codec, CodecError, Natural, present};
use crate::window::{Windowed, millis};

/// A windowed key as Kafka Streams' time-windowed serializer writes it: the key, then the window's
/// start as eight big-endian bytes. The end is not written: it follows from the size.
pub struct TimeWindowed<K> {
    key: Arc<dyn Codec<K>>,
    size_ms: i64,
}

impl<K: Natural> TimeWindowed<K> {
    /// For windows of `size`.
    pub fn of(size: Duration) -> Self {
        Self { key: K::codec(), size_ms: millis(size) }
    }
}

impl<K: 'static> TimeWindowed<K> {
    /// For windows of `size` with a codec for the key.
    pub fn with(size: Duration, key: impl Codec<K>) -> Self {
        Self { key: Arc::new(key), size_ms: millis(size) }
    }
}

impl<K: 'static> Codec<Windowed<K>> for TimeWindowed<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        if !self.key.encode(&value.key, out)? {
            return Err(CodecError::null());
        }
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, CodecError> {
        let bytes = present(bytes)?;
        let (key, start) = bytes
            .split_last_chunk::<8>()
            .ok_or_else(|| CodecError::new(format!("{} bytes hold no window", bytes.len())))?;
        let start = i64::from_be_bytes(*start);
        Ok(Windowed { key: self.key.decode(Some(key))?, start, end: start + self.size_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_then_big_endian_start() {
        let codec = TimeWindowed::<String>::of(Duration::from_secs(1));
        let windowed = Windowed { key: "k".to_owned(), start: 258, end: 1258 };
        let mut bytes = Vec::new();
        codec.encode(&windowed, &mut bytes).expect("encodes");
        assert_eq!(bytes, [b'k', 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(codec.decode(Some(&bytes)).expect("decodes"), windowed);
    }
}
